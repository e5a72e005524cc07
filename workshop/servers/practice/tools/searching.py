"""`search_repositories` and `search_issues`."""

from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context
from pydantic import Field

from workshop.servers.practice import issue_shapes, search, shapes
from workshop.servers.practice.data import Issue, Repository
from workshop.servers.practice.tools.offer import Page, PerPage, Visit, as_text, offer, page_of, visit_of

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
    visit = visit_of(context)
    wanted = search.parse(query, visit.caller.login)
    found = [repo for repo in visit.catalog.visible(visit.caller) if search.matches_repository(wanted, repo)]
    found.sort(
        key=lambda repo: _repository_key(repo, sort or "stars"), reverse=sort is None or order != "asc"
    )
    shape = shapes.repository if minimal_output else shapes.rest_repository
    items = [shape(repo, visit.url) for repo in page_of(found, page, perPage)]
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
    visit = visit_of(context)
    wanted = search.parse(f"{query} repo:{owner}/{repo}" if owner and repo else query, visit.caller.login)
    scored = _hits(visit, wanted)
    scored.sort(key=lambda hit: _issue_key(hit, sort), reverse=sort is None or order != "asc")
    found = [issue_shapes.found(place, issue, visit.url) for _, place, issue in scored]
    items = shapes.pick(page_of(found, page, perPage), fields)
    return as_text({"total_count": len(found), "incomplete_results": False, "items": items})


def _hits(visit: Visit, wanted: search.Query) -> list[tuple[int, Repository, Issue]]:
    places = visit.catalog.visible(visit.caller)
    scored = [
        (search.relevance(wanted, place, issue), place, issue) for place in places for issue in place.issues
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
    offer(search_repositories, "repos", "Search repositories"),
    offer(search_issues, "issues", "Search issues"),
)
