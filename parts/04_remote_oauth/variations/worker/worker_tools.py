"""The worker's four tools and its resource, for the user of each request's session."""

import math
import re
from dataclasses import dataclass
from operator import add, mul, sub, truediv
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field
from worker import WEAK, Worker

from workshop.auth import UpstreamError, call_api
from workshop.servers.variation.sdk import scope_of
from workshop.servers.variation.service import timed_upstream

SESSION = "worker.session"
Operation = Literal["add", "subtract", "multiply", "divide", "power"]
_CALCULATE = {"add": add, "subtract": sub, "multiply": mul, "divide": truediv, "power": math.pow}
_REPOSITORY = re.compile(r"[A-Za-z0-9-]+/(?!\.{1,2}$)[\w.-]+", re.ASCII)
_REPOSITORY_FIELDS = ("name", "full_name", "description", "html_url", "language", "open_issues_count")
_ISSUE_FIELDS = ("number", "title", "body", "html_url", "created_at")
_OK = 200


@dataclass(frozen=True)
class Tools:
    """GitHub is asked over REST, with the user's own token."""

    worker: Worker

    def get_user_info(self, context: Context) -> dict[str, Any]:
        """The GitHub account that this session is for."""
        return {name: _session(context)[name] for name in ("login", "name", "email")}

    def calculate(self, operation: Operation, a: float, b: float) -> float:
        """Calculate with two numbers."""
        try:
            return float(_CALCULATE[operation](a, b))
        except ZeroDivisionError:
            raise ToolError("Division by zero") from None
        except (OverflowError, ValueError) as error:
            raise ToolError(f"The result is not a number: {error}") from error

    async def get_github_repos(
        self, context: Context, limit: Annotated[int, Field(ge=1, le=100)] = 10
    ) -> dict[str, Any]:
        """The user's repositories, with how many issues of each are open."""
        found = await self._ask(context, f"/user/repos?per_page={limit}")
        return {"repositories": [{name: item.get(name) for name in _REPOSITORY_FIELDS} for item in found]}

    async def get_github_issues(self, context: Context, repository: str) -> dict[str, Any]:
        """The open issues of a repository, OWNER/NAME, newest first."""
        if not _REPOSITORY.fullmatch(repository):
            raise ToolError("A repository is named OWNER/NAME")
        found = await self._ask(context, f"/repos/{repository}/issues?state=open")
        issues = [item for item in found if "pull_request" not in item]
        return {"issues": [{name: item.get(name) for name in _ISSUE_FIELDS} for item in issues]}

    def user(self, login: str, context: Context) -> dict[str, Any]:
        """The profile of the session's own user, and of nobody else."""
        if login != _session(context)["login"]:
            raise ToolError("This is not your account")
        return self.get_user_info(context)

    async def _ask(self, context: Context, path: str) -> Any:  # noqa: ANN401 - JSON
        try:
            token = _session(context)["github_token"]
            with timed_upstream("github"):
                answer = await call_api(self.worker.outbound, self.worker.api + path, token)
        except UpstreamError as error:
            raise ToolError(f"GitHub: {error.trouble.value}") from error
        if answer.status != _OK:
            raise ToolError(f"GitHub answered {answer.status}")
        return answer.body


def mcp_server(worker: Worker) -> MCPServer:
    """The SDK's server with these tools."""
    tools, purpose = Tools(worker), "GitHub and arithmetic, for the user who logged in."
    purpose = f"{WEAK} {purpose}" if worker.groups.weak else purpose
    server = MCPServer("workshop-worker", version="1.0.0", instructions=purpose, log_level="WARNING")
    for tool in (tools.get_user_info, tools.calculate, tools.get_github_repos, tools.get_github_issues):
        server.add_tool(tool)
    server.resource("github://user/{login}", mime_type="application/json")(tools.user)
    return server


def _session(context: Context) -> dict[str, Any]:
    session: dict[str, Any] = scope_of(context)[SESSION]
    return session
