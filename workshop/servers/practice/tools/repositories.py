"""`list_commits`, `list_branches` and `get_file_contents`."""

import hashlib
from typing import Annotated, Literal

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import EmbeddedResource, TextContent, TextResourceContents
from pydantic import Field

from workshop.servers.practice import shapes
from workshop.servers.practice.catalog import Repository
from workshop.servers.practice.tools import (
    Owner,
    Page,
    PerPage,
    Repo,
    as_text,
    define,
    find_repository,
    history,
    moment,
    not_found,
    page_of,
    request_of,
)

CommitField = Literal["sha", "html_url", "commit", "author", "committer"]


def list_commits(
    context: Context,
    *,
    owner: Owner,
    repo: Repo,
    sha: Annotated[str | None, Field(description="Branch or commit to start from")] = None,
    path: Annotated[str | None, Field(description="Only commits that touch this file")] = None,
    author: Annotated[str | None, Field(description="Only commits of this login or e-mail address")] = None,
    since: Annotated[str | None, Field(description="Only commits after this date (ISO 8601)")] = None,
    until: Annotated[str | None, Field(description="Only commits before this date (ISO 8601)")] = None,
    fields: Annotated[list[CommitField] | None, Field(description="Only these fields of each commit")] = None,
    page: Page | None = None,
    perPage: PerPage | None = None,  # noqa: N803 - GitHub's name
) -> str:
    """List the commits of a repository, newest first."""
    request = request_of(context)
    repository = find_repository(request, owner, repo)
    if path:
        raise ToolError("the practice GitHub does not know which files a commit touched: leave `path` out")
    people = {user.login: user for user in request.catalog.users}
    commits = [
        commit
        for commit in history(repository, sha)
        if (author is None or author.lower() in {commit.author, people[commit.author].email})
        and (since is None or commit.date >= moment(since))
        and (until is None or commit.date <= moment(until))
    ]
    shown = [shapes.commit(commit, people, request.url) for commit in page_of(commits, page, perPage)]
    return as_text(shapes.pick(shown, fields))


def list_branches(
    context: Context,
    *,
    owner: Owner,
    repo: Repo,
    page: Page | None = None,
    perPage: PerPage | None = None,  # noqa: N803 - GitHub's name
) -> str:
    """List the branches of a repository."""
    repository = find_repository(request_of(context), owner, repo)
    branches = [
        {"name": name, "sha": repository.history(name)[0].sha, "protected": name == repository.default_branch}
        for name in repository.branches
    ]
    return as_text(page_of(branches, page, perPage))


EntryField = Literal["type", "name", "path", "size", "sha", "url", "git_url", "html_url", "download_url"]


def get_file_contents(
    context: Context,
    *,
    owner: Owner,
    repo: Repo,
    path: Annotated[str, Field(description="A file or a folder; / is the top")] = "/",
    ref: Annotated[str | None, Field(description="A branch, e.g. refs/heads/main")] = None,
    sha: Annotated[str | None, Field(description="A commit; overrides `ref`")] = None,
    fields: Annotated[
        list[EntryField] | None, Field(description="Only these fields of each entry of a folder")
    ] = None,
) -> str | list[TextContent | EmbeddedResource]:
    """Read a file, or list a folder."""
    request = request_of(context)
    repository = find_repository(request, owner, repo)
    commit = history(repository, sha or (ref or "").removeprefix("refs/heads/") or None)[0]
    wanted = path.strip("/")
    if wanted in repository.files:
        text = repository.files[wanted]
        uri = f"repo://{repository.full_name}/sha/{commit.sha}/contents/{wanted}"
        contents = TextResourceContents(uri=uri, text=text, mime_type="text/plain; charset=utf-8")
        note = TextContent(text=f"text file {wanted} (SHA: {_blob_sha(text)})")
        return [note, EmbeddedResource(resource=contents)]
    entries = _entries(repository, wanted, f"{request.url}/{repository.full_name}")
    if not entries:
        there = ", ".join(repository.files)
        raise not_found(f"no file or folder {wanted} in {repository.full_name}; there are {there}")
    return as_text(shapes.pick(entries, fields))


def _entries(repository: Repository, folder: str, url: str) -> list[shapes.Json]:
    prefix = f"{folder}/" if folder else ""
    below = {path: text for path, text in repository.files.items() if path.startswith(prefix)}
    folders = sorted({path[len(prefix) :].split("/")[0] for path in below if "/" in path[len(prefix) :]})
    files = sorted(path[len(prefix) :] for path in below if "/" not in path[len(prefix) :])
    listed = [("dir", name, "") for name in folders] + [
        ("file", name, below[prefix + name]) for name in files
    ]
    return [
        {
            "type": kind,
            "name": name,
            "path": prefix + name,
            "size": len(text.encode()),
            # A folder has no text, so its name gives it a sha.
            "sha": _blob_sha(text or name),
            "html_url": f"{url}/{prefix}{name}",
        }
        for kind, name, text in listed
    ]


def _blob_sha(text: str) -> str:
    """The name git gives a blob of this text."""
    data = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


TOOLS = (
    define(list_commits, "repos", "List commits"),
    define(list_branches, "repos", "List branches"),
    define(get_file_contents, "repos", "Get file or directory contents"),
)
