"""How a tool is offered, and what it can rely on when it is called."""

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

from workshop.servers.practice.catalog import Catalog
from workshop.servers.practice.tokens import Caller
from workshop.servers.practice.tools.dialect import in_github_dialect

VISIT = "practice.visit"
DEFAULT_PER_PAGE = 30

Item = TypeVar("Item")

Owner = Annotated[str, Field(description="Login of the repository's owner")]
Repo = Annotated[str, Field(description="Name of the repository")]
Page = Annotated[int, Field(ge=1, description="Which page, counted from 1")]
PerPage = Annotated[int, Field(ge=1, le=100, description="How many results a page, 100 at most")]


@dataclass(frozen=True)
class Visit:
    """Whom this one request acts for, and what there is to see; `url` starts every link."""

    caller: Caller
    catalog: Catalog
    url: str


@dataclass(frozen=True)
class OfferedTool:
    """A tool with the toolset it belongs to."""

    tool: Tool
    toolset: str
    writes: bool


def offer(function: Callable[..., Any], toolset: str, title: str, *, writes: bool = False) -> OfferedTool:
    """Describe a function as a tool; its name and docstring become the tool's."""
    annotations = ToolAnnotations(title=title, read_only_hint=not writes, idempotent_hint=False)
    tool = Tool.from_function(function, annotations=annotations, structured_output=False)
    tool.parameters = in_github_dialect(tool.parameters)
    return OfferedTool(tool, toolset, writes)


def visit_of(context: Context) -> Visit:
    """The visit of the HTTP request that carries this very call, however many run at once."""
    request = context.request_context.request
    if request is None:
        raise TypeError("these tools are for HTTP: without a request nobody knows whom they act for")
    visit: Visit = request.scope[VISIT]
    return visit


def as_text(value: object) -> str:
    """A result as GitHub's server sends it: JSON in a text block, nothing structured."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def page_of(items: list[Item], page: int | None, per_page: int | None) -> list[Item]:
    """One page of the items."""
    size = per_page or DEFAULT_PER_PAGE
    start = ((page or 1) - 1) * size
    return items[start : start + size]


def not_found(what: str) -> ToolError:
    """There is no such thing for this caller; the same words whether it is hidden or missing."""
    return ToolError(f"{what}: 404 Not Found")


def moment(text: str) -> datetime:
    """A date a client wrote; UTC when it names no zone. Raises ToolError when it is none."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise ToolError(f"{text} is not an ISO 8601 date") from None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
