"""The tools of the practice MCP server, with the names, arguments and results of GitHub's.

Here is how a tool is defined, and what it reads when it is called: caller, data, pages of results.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp_types import ToolAnnotations
from pydantic import Field

from workshop.servers.practice.catalog import Commit, Issue, NotFoundError, Repository
from workshop.servers.practice.state import TOOL_REQUEST, ToolRequest

DEFAULT_PER_PAGE = 30

Item = TypeVar("Item")

Owner = Annotated[str, Field(description="Login of the repository's owner")]
Repo = Annotated[str, Field(description="Name of the repository")]
Page = Annotated[int, Field(ge=1, description="Which page, counted from 1")]
PerPage = Annotated[int, Field(ge=1, le=100, description="Results per page, at most 100")]


@dataclass(frozen=True)
class PracticeTool:
    """A tool with the toolset it belongs to."""

    tool: Tool
    toolset: str
    writes: bool


def define(function: Callable[..., Any], toolset: str, title: str, *, writes: bool = False) -> PracticeTool:
    """Describe a function as a tool; its name and docstring become the tool's."""
    annotations = ToolAnnotations(title=title, read_only_hint=not writes, idempotent_hint=False)
    tool = Tool.from_function(function, annotations=annotations, structured_output=False)
    tool.parameters = in_github_dialect(tool.parameters)
    return PracticeTool(tool, toolset, writes)


def request_of(context: Context) -> ToolRequest:
    """The caller and the data of this call, from its own HTTP request, so parallel calls do not mix."""
    http_request = context.request_context.request
    if http_request is None:
        raise TypeError("these tools need HTTP: the caller is in the HTTP request")
    request: ToolRequest = http_request.scope[TOOL_REQUEST]
    return request


def as_text(value: object) -> str:
    """A result as GitHub's server sends it: JSON in a text block, no structured content."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def page_of(items: list[Item], page: int | None, per_page: int | None) -> list[Item]:
    """One page of the items."""
    size = per_page or DEFAULT_PER_PAGE
    start = ((page or 1) - 1) * size
    return items[start : start + size]


def not_found(what: str) -> ToolError:
    """A "404 Not Found" tool error, the same for missing things and for those the caller may not see."""
    return ToolError(f"{what}: 404 Not Found")


def moment(text: str) -> datetime:
    """A date from a client, in UTC if it has no time zone. Raises ToolError if it is not ISO 8601."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise ToolError(f"{text} is not an ISO 8601 date") from None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


Schema = dict[str, Any]


def in_github_dialect(schema: Schema) -> Schema:
    """The schema of a tool's arguments without titles and nulls, whole numbers as `number`."""
    properties = {name: _argument(argument) for name, argument in schema.get("properties", {}).items()}
    required = {"required": schema["required"]} if schema.get("required") else {}
    return {"type": "object", "properties": properties, **required}


def _argument(schema: Schema) -> Schema:
    flat = dict(schema)
    for option in flat.pop("anyOf", ()):
        if option.get("type") != "null":
            flat = {**option, **flat}
    flat.pop("title", None)
    if flat.get("default", ...) is None:
        del flat["default"]
    # GitHub's server declares whole numbers as `number`.
    if flat.get("type") == "integer":
        flat["type"] = "number"
    return flat


def find_repository(request: ToolRequest, owner: str, repo: str) -> Repository:
    """The repository; raises ToolError if it does not exist or the caller may not see it."""
    try:
        return request.catalog.repository(request.caller, owner, repo)
    except NotFoundError:
        raise not_found(f"{owner}/{repo}") from None


def find_issue(request: ToolRequest, owner: str, repo: str, number: int) -> tuple[Repository, Issue]:
    """The repository and the issue; raises ToolError if one does not exist or the caller may not see it."""
    try:
        return request.catalog.issue(request.caller, owner, repo, number)
    except NotFoundError:
        raise not_found(f"{owner}/{repo}#{number}") from None


def history(repository: Repository, ref: str | None) -> list[Commit]:
    """The history of a branch or a commit, newest first. Raises ToolError for an unknown `ref`."""
    branch = ref or repository.default_branch
    if branch in repository.branches:
        return list(repository.history(branch))
    for name in repository.branches:
        commits = repository.history(name)
        for position, commit in enumerate(commits):
            if commit.sha == branch:
                return list(commits[position:])
    raise not_found(f"no branch or commit {branch} in {repository.full_name}")
