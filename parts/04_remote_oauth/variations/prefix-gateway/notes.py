"""The second upstream: notes, each user's own. The gateway's pass names the user."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from workshop.auth import BearerGuard, OutsideIssuer, OutsideTokens, caller_of
from workshop.core.serving import main
from workshop.servers.variation.sdk import scope_of

_MOST = 100


class Notes:
    """Kept in memory, under the subject of the pass."""

    def __init__(self) -> None:
        self._notes: dict[str, list[str]] = defaultdict(list)

    def list_notes(self, context: Context) -> list[str]:
        """My notes, oldest first."""
        return self._notes[caller_of(scope_of(context)).subject]

    def add_note(
        self,
        context: Context,
        text: Annotated[str, Field(description="The note", min_length=1, max_length=1000)],
    ) -> str:
        """Add a note to mine."""
        mine = self._notes[caller_of(scope_of(context)).subject]
        if len(mine) >= _MOST:
            raise ToolError(f"You have {_MOST} notes, which is the limit")
        mine.append(text)
        return f"Note {len(mine)} is stored"


def create_app(config: Mapping[str, Any]) -> ASGIApp:
    notes, resource, issuer = Notes(), f"{config['url']}/mcp", config["issuer"]
    server = MCPServer("notes", title="Notes", version="1.0.0", log_level="WARNING")
    server.add_tool(notes.list_notes)
    server.add_tool(notes.add_note)
    app = server.streamable_http_app(stateless_http=True)
    tokens = OutsideTokens(OutsideIssuer(issuer, resource, jwks_uri=f"{issuer}/.well-known/jwks.json"))
    return Starlette(
        routes=[Mount("/", BearerGuard(app, tokens, resource))],
        lifespan=lambda _: server.session_manager.run(),
    )


if __name__ == "__main__":
    main(create_app)
