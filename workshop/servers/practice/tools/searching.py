"""`get_me`, `search_users`, `search_repositories` and `search_issues`."""

from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context
from pydantic import Field

from workshop.servers.practice import search, shapes
from workshop.servers.practice.data import Issue, Repository, User
from workshop.servers.practice.tools.definition import (
    Page,
    PerPage,
    ToolRequest,
    as_text,
    define,
    page_of,
    request_of,
)


def get_me(context: Context) -> str:
    """Who am I? The profile of the person this connection acts for: start here when the login is needed."""
    request = request_of(context)
    return as_text(shapes.me(request.catalog, request.caller, request.url))


def search_users(
    context: Context,
    *,
    query: Annotated[str, Field(description="Words to find in a login, a name or a place, e.g. 'mentor'")],
    sort: Annotated[
        Literal["followers", "repositories", "joined"] | None, Field(description="What to sort by")
    ] = None,
    order: Annotated[Literal["asc", "desc"] | None, Field(description="Sort order")] = None,
    page: Page | None = None,
    perPage: PerPage | None = None,  # noqa: N803 - GitHub's name
) -> str:
    """Find people by login, name or place."""
    request = request_of(context)
    words = [word for word in query.lower().split() if ":" not in word]
    found = [user for user in request.catalog.users if all(word in _text(user) for word in words)]
    if sort:
        keys = {
            "followers": lambda user: len(user.followers),
            "repositories": lambda user: request.catalog.public_count(user.login),
            "joined": lambda user: user.created_at.timestamp(),
        }
        found.sort(key=keys[sort], reverse=order != "asc")
    shown = [shapes.person(user, request.url) for user in page_of(found, page, perPage)]
    return as_text({"total_count": len(found), "incomplete_results": False, "items": shown})


def _text(user: User) -> str:
    return f"{user.login} {user.name} {user.location}".lower()


Order = Annotated[Literal["asc", "desc"] | None, Field(description="Sort order")]
RepositorySort = Literal["stars", "forks", "help-wanted-issues", "updated"]
IssueSort = Literal[
    "comments",
    "reactions",
    "reactions-+1",
    "reactions--1",
    "reactions-smile",
    "reactions-thinking_face",
    "reactions-heart",
    "reactions-tada",
    "interactions",
    "created",
    "updated",
]
IssueField = Literal[
    "number",
    "title",
    "body",
    "state",
    "state_reason",
    "draft",
    "locked",
    "html_url",
    "user",
    "author_association",
    "labels",
    "assignee",
    "assignees",
    "milestone",
    "comments",
    "reactions",
    "created_at",
    "updated_at",
    "closed_at",
    "closed_by",
    "type",
    "repository_url",
    "pull_request",
    "field_values",
]


def search_repositories(
    context: Context,
    *,
    query: Annotated[
        str,
        Field(
            description="Words and qualifiers, e.g. 'user:learner', 'user:@me language:python', 'stars:>5'"
        ),
    ],
    sort: Annotated[
        RepositorySort | None, Field(description="What to sort by; the best match if left out")
    ] = None,
    order: Order = None,
    minimal_output: Annotated[bool, Field(description="False for every field of the REST API")] = True,
    page: Page | None = None,
    perPage: PerPage | None = None,  # noqa: N803 - GitHub's name
) -> str:
    """Find repositories, with their numbers of open issues; `user:LOGIN` lists somebody's."""
    request = request_of(context)
    wanted = search.parse(query, request.caller.login)
    found = [
        repo for repo in request.catalog.visible(request.caller) if search.matches_repository(wanted, repo)
    ]
    found.sort(
        key=lambda repo: _repository_key(repo, sort or "stars"), reverse=sort is None or order != "asc"
    )
    shape = shapes.repository if minimal_output else shapes.rest_repository
    items = [shape(repo, request.url) for repo in page_of(found, page, perPage)]
    return as_text({"total_count": len(found), "incomplete_results": False, "items": items})


def _repository_key(repo: Repository, sort: str) -> float:
    keys = {
        "stars": repo.stars,
        "forks": repo.forks,
        "help-wanted-issues": sum("help wanted" in issue.labels for issue in repo.open_issues),
        "updated": repo.updated_at.timestamp(),
    }
    return keys[sort]


def search_issues(
    context: Context,
    *,
    query: Annotated[str, Field(description="What the issue is about, in plain words")],
    owner: Annotated[
        str | None, Field(description="Only together with `repo`: the repository's owner")
    ] = None,
    repo: Annotated[
        str | None, Field(description="Only together with `owner`: the repository's name")
    ] = None,
    sort: Annotated[
        IssueSort | None, Field(description="What to sort by; the best match if left out")
    ] = None,
    order: Order = None,
    fields: Annotated[list[IssueField] | None, Field(description="Only these fields of each issue")] = None,
    page: Page | None = None,
    perPage: PerPage | None = None,  # noqa: N803 - GitHub's name
) -> str:
    """Find issues by what they are about, in all repositories you can see or in one."""
    request = request_of(context)
    wanted = search.parse(f"{query} repo:{owner}/{repo}" if owner and repo else query, request.caller.login)
    scored = _hits(request, wanted)
    scored.sort(key=lambda hit: _issue_key(hit, sort), reverse=sort is None or order != "asc")
    found = [shapes.found_issue(repository, issue, request.url) for _, repository, issue in scored]
    items = shapes.pick(page_of(found, page, perPage), fields)
    return as_text({"total_count": len(found), "incomplete_results": False, "items": items})


def _hits(request: ToolRequest, wanted: search.Query) -> list[tuple[int, Repository, Issue]]:
    repositories = request.catalog.visible(request.caller)
    scored = [
        (search.relevance(wanted, repository, issue), repository, issue)
        for repository in repositories
        for issue in repository.issues
    ]
    return [hit for hit in scored if hit[0]]


def _issue_key(hit: tuple[int, Repository, Issue], sort: str | None) -> tuple[Any, ...]:
    score, _, issue = hit
    if sort in {"comments", "interactions"}:
        return (len(issue.comments), issue.created_at)
    if sort == "updated":
        return (issue.updated_at,)
    if sort is None:
        return (score, issue.created_at)
    return (issue.created_at,)


TOOLS = (
    define(get_me, "context", "Get my user profile"),
    define(search_users, "users", "Search users"),
    define(search_repositories, "repos", "Search repositories"),
    define(search_issues, "issues", "Search issues"),
)
