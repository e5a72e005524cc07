"""The tools of part 1 behind the Model Context Protocol: one program, over stdio or over HTTP.

Settings come from the environment, under the names that ToolHive gives to a container:

    MCP_TRANSPORT      stdio (default) or streamable-http
    MCP_HOST           address to bind: 127.0.0.1 if unset; empty, as ToolHive sets it, means 0.0.0.0
    MCP_PORT           port to bind, 8000 if unset
    MCP_ALLOWED_HOSTS  further names that a Host header may carry: comma-separated, without a port
    LOG_LEVEL          DEBUG, INFO, WARNING (default) or ERROR
"""

import asyncio
import contextlib
import ipaddress
import json
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args
from urllib.parse import urlsplit

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import ToolAnnotations
from starlette.requests import Request
from starlette.responses import JSONResponse

LOCAL = ("localhost", "127.0.0.1", "[::1]")
CLUSTER = "mcp-workshop"  # ToolHive's Service for the MCPServer `workshop`: its proxy calls us by this name
ZONES = ("", ".toolhive-system", ".toolhive-system.svc", ".toolhive-system.svc.cluster.local")

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


@dataclass(frozen=True)
class Repository:
    name: str
    description: str
    language: str
    updated_at: str
    open_issues: int


@dataclass(frozen=True)
class Repositories:
    repositories: list[Repository]


@dataclass(frozen=True)
class IssueSummary:
    number: int
    title: str
    state: str
    labels: list[str]
    author: str
    created_at: str


@dataclass(frozen=True)
class Issue(IssueSummary):
    body: str


@dataclass(frozen=True)
class Issues:
    issues: list[IssueSummary]


@dataclass(frozen=True)
class Number:
    result: float


def setting(name: str, default: str, allowed: tuple[str, ...] = ()) -> str:
    """Read a setting; one that is not allowed ends the program with a sentence, not a traceback."""
    value = os.environ.get(name, default)
    if allowed and value not in allowed:
        sys.exit(f"{name} is `{value}`; it must be one of {', '.join(allowed)}")
    return value


DATA: list[dict[str, Any]] = json.loads(Path(__file__).with_name("data.json").read_text("utf-8"))[
    "repositories"
]
READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)

server = MCPServer(
    "workshop",
    title="Workshop repositories",
    version="0.1.0",
    instructions="Read-only tools over my repositories and their issues, and a calculator.",
    log_level=cast("LogLevel", setting("LOG_LEVEL", "WARNING", get_args(LogLevel))),
)


@server.tool(title="List repositories", annotations=READ_ONLY)
def list_repositories() -> Repositories:
    """List my repositories, each with its description, language and number of open issues."""
    return Repositories([overview(repository) for repository in DATA])


@server.tool(title="List issues", annotations=READ_ONLY)
def list_issues(repository: str, state: Literal["open", "closed", "all"] = "open") -> Issues:
    """List the issues of one of my repositories, the newest first, without their text."""
    wanted = [issue for issue in find(repository)["issues"] if state in ("all", issue["state"])]
    shown = [{key: issue[key] for key in issue if key != "body"} for issue in wanted]
    return Issues([IssueSummary(**issue) for issue in shown])


@server.tool(title="Read an issue", annotations=READ_ONLY)
def get_issue(repository: str, number: int) -> Issue:
    """Read one issue of one of my repositories, with its text."""
    for issue in find(repository)["issues"]:
        if issue["number"] == number:
            return Issue(**issue)
    raise ToolError(f"{repository} has no issue #{number}")


@server.tool(title="Calculate", annotations=READ_ONLY)
def calculate(operation: Literal["add", "subtract", "multiply", "divide"], a: float, b: float) -> Number:
    """Calculate with two numbers exactly, where a model would guess."""
    if operation == "divide" and b == 0:
        raise ToolError("Cannot divide by zero")
    match operation:
        case "add":
            result = a + b
        case "subtract":
            result = a - b
        case "multiply":
            result = a * b
        case "divide":
            result = a / b
    if not math.isfinite(result):
        raise ToolError("The result is not a finite number")
    return Number(result)


@server.tool(title="Count slowly", annotations=READ_ONLY)
async def slow_count(context: Context, steps: int = 5, seconds: float = 0.5) -> Number:
    """Count to `steps` (1 to 100), waiting `seconds` (0 to 5) before each, and report progress on the way."""
    if not (1 <= steps <= 100 and 0 <= seconds <= 5):  # noqa: PLR2004 - the bounds the description names
        raise ToolError("`steps` must be 1 to 100 and `seconds` 0 to 5")
    for step in range(1, steps + 1):
        await asyncio.sleep(seconds)
        await context.report_progress(step, steps, f"{step} of {steps}")
    return Number(steps)


@server.custom_route("/health", methods=["GET"])  # type: ignore[untyped-decorator]  # so in the SDK
async def health(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok", "server": server.name})


def overview(repository: dict[str, Any]) -> Repository:
    open_issues = sum(issue["state"] == "open" for issue in repository["issues"])
    shown = {key: repository[key] for key in ("name", "description", "language", "updated_at")}
    return Repository(**shown, open_issues=open_issues)


def find(name: str) -> dict[str, Any]:
    for repository in DATA:
        if repository["name"] == name:
            return repository
    known = ", ".join(repository["name"] for repository in DATA)
    raise ToolError(f"There is no repository `{name}`; there are {known}")


class Hosts(list[str]):
    """The names that are ours, and any address: ToolHive's proxy calls the server of a session by address."""

    def __contains__(self, host: object) -> bool:
        with contextlib.suppress(ValueError):
            return bool(ipaddress.ip_address(urlsplit(f"//{host}").hostname or ""))
        return super().__contains__(host)


def host_check() -> TransportSecuritySettings:
    """Answer only to names that are ours: a web page that rebinds its DNS name to this port gets a 421."""
    extra = [host.strip() for host in setting("MCP_ALLOWED_HOSTS", "").split(",") if host.strip()]
    names = [*LOCAL, *(CLUSTER + zone for zone in ZONES), *extra]
    check = TransportSecuritySettings(
        allowed_origins=[pattern for name in LOCAL for pattern in (f"http://{name}", f"http://{name}:*")],
    )
    check.allowed_hosts = Hosts(pattern for name in names for pattern in (name, f"{name}:*"))
    return check


def port() -> int:
    text = setting("MCP_PORT", "8000")
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):  # noqa: PLR2004 - a TCP port
        sys.exit(f"MCP_PORT is `{text}`; it must be a number from 1 to 65535")
    return int(text)


def main() -> None:
    transport = setting("MCP_TRANSPORT", "stdio", ("stdio", "streamable-http"))
    with contextlib.suppress(KeyboardInterrupt):
        if transport == "stdio":
            server.run("stdio")
        else:
            host = setting("MCP_HOST", "127.0.0.1") or "0.0.0.0"
            app = server.streamable_http_app(host=host, transport_security=host_check())
            # h11 strips white space around a header's value, as HTTP asks; httptools does not.
            level = server.settings.log_level.lower()
            uvicorn.run(app, host=host, port=port(), log_level=level, http="h11")


if __name__ == "__main__":
    main()
