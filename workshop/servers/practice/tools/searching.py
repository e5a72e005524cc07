"""`get_me`, `search_users`, `search_repositories` and `search_issues`, with the syntax of their queries.

A query has words and `name:value` qualifiers: the part of GitHub's syntax that small repositories need.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context
from pydantic import Field

from workshop.servers.practice import shapes
from workshop.servers.practice.catalog import Issue, Repository, User
from workshop.servers.practice.state import ToolRequest
from workshop.servers.practice.tools import (
    Page,
    PerPage,
    as_text,
    define,
    page_of,
    request_of,
)

_PIECE = re.compile(r'(?:(?P<name>[a-z-]+):(?P<value>"[^"]*"|\S+))|(?P<word>"[^"]*"|\S+)', re.IGNORECASE)
_NAMES = {
    "user",
    "org",
    "owner",
    "repo",
    "language",
    "topic",
    "is",
    "state",
    "stars",
    "archived",
    "fork",
    "author",
    "label",
}
# GitHub knows these qualifiers; here they change nothing, and as words they would match nothing.
_IGNORED = {"in", "sort", "type"}
# Questions come in plain words, and these words are in nearly every issue.
_STOP_WORDS = frozenset(
    (
        "a",
        "about",
        "an",
        "and",
        "are",
        "do",
        "for",
        "in",
        "is",
        "issue",
        "issues",
        "of",
        "on",
        "that",
        "the",
        "to",
        "what",
    )
)


@dataclass(frozen=True)
class Query:
    """A search: the words, and each qualifier with its values."""

    words: tuple[str, ...]
    qualifiers: tuple[tuple[str, str], ...]

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.qualifiers}


def parse_query(text: str, login: str) -> Query:
    """Split a query; `@me` stands for `login`. An unknown qualifier counts as a word."""
    words: list[str] = []
    qualifiers: list[tuple[str, str]] = []
    for match in _PIECE.finditer(text):
        name, value = (match["name"] or "").lower(), (match["value"] or "").strip('"').lower()
        if name in _NAMES:
            qualifiers.append((name, login if value == "@me" else value))
        elif name not in _IGNORED and (word := match[0].strip('"').lower()):
            words.append(word)
    return Query(tuple(words), tuple(qualifiers))


def matches_repository(query: Query, repository: Repository) -> bool:
    """Whether every word and qualifier matches; several owners or repositories are alternatives."""
    text = f"{repository.name} {repository.description} {' '.join(repository.topics)}".lower()
    return (
        _in_scope(query, repository)
        and all(word in text for word in query.words)
        and all(_fits_repository(name, value, repository) for name, value in query.qualifiers)
    )


def _in_scope(query: Query, repository: Repository) -> bool:
    wanted = {(name, value) for name, value in query.qualifiers if name in {"user", "org", "owner", "repo"}}
    owner, full_name = repository.owner.lower(), repository.full_name.lower()
    return not wanted or any(value == (full_name if name == "repo" else owner) for name, value in wanted)


def _fits_repository(name: str, value: str, repository: Repository) -> bool:
    checks = {
        "language": lambda: repository.language.lower() == value,
        "topic": lambda: value in repository.topics,
        "is": lambda: value not in {"public", "private"} or (value == "private") == repository.private,
        "stars": lambda: _in_range(repository.stars, value),
        # Nothing here is archived, and nothing is a fork.
        "archived": lambda: value != "true",
        "fork": lambda: value != "only",
    }
    return checks[name]() if name in checks else True


def _in_range(number: int, text: str) -> bool:
    if match := re.fullmatch(r"(?P<low>\d+|\*)\.\.(?P<high>\d+|\*)", text):
        low, high = match.group("low", "high")
        return (low == "*" or number >= int(low)) and (high == "*" or number <= int(high))
    if match := re.fullmatch(r"(?P<sign>>=|<=|>|<|)(?P<bound>\d+)", text):
        bound = int(match["bound"])
        return {
            ">": number > bound,
            "<": number < bound,
            ">=": number >= bound,
            "<=": number <= bound,
            "": number == bound,
        }[match["sign"]]
    return False


def relevance(query: Query, repository: Repository, issue: Issue) -> int:
    """How well an issue matches a question; 0 if it does not.

    GitHub ranks by meaning. Here words are counted, those in the title three times.
    """
    if not _in_scope(query, repository) or not all(
        _fits_issue(name, value, issue) for name, value in query.qualifiers
    ):
        return 0
    words = [word.strip("?!.,") for word in query.words if word not in _STOP_WORDS]
    if not words:
        return 1
    title, text = issue.title.lower(), f"{issue.body} {' '.join(issue.labels)} {repository.name}".lower()
    return sum(3 * (word in title) + (word in text) for word in words)


def _fits_issue(name: str, value: str, issue: Issue) -> bool:
    checks = {
        "is": lambda: value not in {"open", "closed"} or issue.state == value,
        "state": lambda: issue.state == value,
        "author": lambda: issue.author == value,
        "label": lambda: value in {label.lower() for label in issue.labels},
    }
    return checks[name]() if name in checks else True


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
    # A qualifier such as `type:user` is not part of a person's name.
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
    wanted = parse_query(query, request.caller.login)
    found = [repo for repo in request.catalog.visible(request.caller) if matches_repository(wanted, repo)]
    # GitHub ignores `order` without `sort`.
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
    # GitHub's server adds them to the query in the same way, and only together.
    wanted = parse_query(f"{query} repo:{owner}/{repo}" if owner and repo else query, request.caller.login)
    scored = _hits(request, wanted)
    scored.sort(key=lambda hit: _issue_key(hit, sort), reverse=sort is None or order != "asc")
    found = [shapes.found_issue(repository, issue, request.url) for _, repository, issue in scored]
    items = shapes.pick(page_of(found, page, perPage), fields)
    return as_text({"total_count": len(found), "incomplete_results": False, "items": items})


def _hits(request: ToolRequest, wanted: Query) -> list[tuple[int, Repository, Issue]]:
    repositories = request.catalog.visible(request.caller)
    scored = [
        (relevance(wanted, repository, issue), repository, issue)
        for repository in repositories
        for issue in repository.issues
    ]
    return [hit for hit in scored if hit[0]]


def _issue_key(hit: tuple[int, Repository, Issue], sort: str | None) -> tuple[Any, ...]:
    score, _, issue = hit
    # There are no reactions here, so interactions are comments.
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
