"""`get_file_contents`."""

import hashlib
from typing import Annotated, Literal

from mcp.server.mcpserver import Context
from mcp_types import EmbeddedResource, TextContent, TextResourceContents
from pydantic import Field

from workshop.servers.practice import shapes
from workshop.servers.practice.data import Repository
from workshop.servers.practice.tools.offer import Owner, Repo, as_text, not_found, offer, visit_of
from workshop.servers.practice.tools.places import find, history

EntryField = Literal["type", "name", "path", "size", "sha", "url", "git_url", "html_url", "download_url"]


def get_file_contents(
    context: Context,
    *,
    owner: Owner,
    repo: Repo,
    path: Annotated[str, Field(description="A file or a folder; / is the top")] = "/",
    ref: Annotated[str | None, Field(description="A branch, e.g. refs/heads/main")] = None,
    sha: Annotated[str | None, Field(description="A commit; counts more than `ref`")] = None,
    fields: Annotated[
        list[EntryField] | None, Field(description="Only these fields of each entry of a folder")
    ] = None,
) -> str | list[TextContent | EmbeddedResource]:
    """Read a file, or list a folder."""
    visit = visit_of(context)
    repository = find(visit, owner, repo)
    commit = history(repository, sha or (ref or "").removeprefix("refs/heads/") or None)[0]
    wanted = path.strip("/")
    if wanted in repository.files:
        text = repository.files[wanted]
        uri = f"repo://{repository.full_name}/sha/{commit.sha}/contents/{wanted}"
        contents = TextResourceContents(uri=uri, text=text, mime_type="text/plain; charset=utf-8")
        note = TextContent(text=f"text file {wanted} (SHA: {_blob_sha(text)})")
        return [note, EmbeddedResource(resource=contents)]
    entries = _entries(repository, wanted, f"{visit.url}/{repository.full_name}")
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
            "sha": _blob_sha(text or name),
            "html_url": f"{url}/{prefix}{name}",
        }
        for kind, name, text in listed
    ]


def _blob_sha(text: str) -> str:
    """The name git gives a blob of this text."""
    data = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


TOOLS = (offer(get_file_contents, "repos", "Get file or directory contents"),)
