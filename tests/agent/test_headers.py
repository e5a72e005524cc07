"""Extra headers go to the MCP server and to nobody else, and into no trace and no text."""

from collections.abc import Mapping
from pathlib import Path

from mcp.server.mcpserver import Context, MCPServer
from starlette.applications import Starlette
from starlette.responses import RedirectResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.agent.conftest import Authority, Serve, Visit
from workshop.agent.approval import PrintUrl
from workshop.agent.http import headers_for, open_client
from workshop.agent.listener import LoopbackListener
from workshop.agent.loop import Agent
from workshop.agent.mcp_tools import McpTools
from workshop.agent.oauth import OAuthClient
from workshop.agent.rehearsal import RehearsalModel
from workshop.agent.token_store import TokenStore
from workshop.core.ports import free_port
from workshop.recorder import files, recording
from workshop.recorder.build import build_trace
from workshop.recorder.model import Outcome, Subject
from workshop.recorder.recorder import Recorder

NAME, VALUE = "x-github-pat", "sample-value-of-a-header"
EXTRA: Mapping[str, str] = {NAME: VALUE}


class Ear:
    """An app that notes for each path what stood in our header, and passes all on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.heard: list[tuple[str, str | None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            values = dict(scope["headers"])
            value = values.get(NAME.encode())
            self.heard.append((scope["path"], value.decode() if value is not None else None))
        await self._app(scope, receive, send)


def _server() -> Starlette:
    server = MCPServer("over http", log_level="ERROR")

    @server.tool()
    def echo(ctx: Context) -> str:
        return (ctx.headers or {}).get(NAME, "nothing")

    return server.streamable_http_app()


def _agent(folder: Path) -> Agent:
    return Agent("?", RehearsalModel((), "?"), PrintUrl(), folder, headers=EXTRA)


async def test_every_request_to_the_mcp_server_has_them_and_no_text_or_trace_does(
    serve: Serve, tmp_path: Path
) -> None:
    agent, recorder, ear = _agent(tmp_path), Recorder(), Ear(_server())
    assert VALUE not in repr(agent)
    async with serve(ear, free_port()) as url:
        with recording(recorder):
            async with agent.connect(f"{url}/mcp") as client:
                assert (await McpTools(client).call_tool("echo", {})).text == VALUE
    assert len(ear.heard) > 1
    assert set(ear.heard) == {("/mcp", VALUE)}
    trace = build_trace(recorder, Subject("x"), Outcome())
    for writer in files.WRITERS.values():
        text = writer(trace)
        assert NAME in text
        assert VALUE not in text, "neither where it was sent nor where the server echoed it"


def _leading(first: str) -> Ear:
    """An endpoint that leads somewhere, and from there to this server's root."""
    routes = [
        Route("/mcp", lambda _: RedirectResponse(first)),
        Route("/end", lambda _: RedirectResponse("/")),
    ]
    return Ear(Starlette(routes=routes))


async def test_a_redirect_takes_them_to_no_other_origin(serve: Serve) -> None:
    other = _leading("/end")
    async with serve(other, free_port()) as elsewhere:
        ear = _leading(f"{elsewhere}/end")
        async with (
            serve(ear, free_port()) as url,
            open_client(5, on_request=[headers_for(f"{url}/mcp", EXTRA)]) as http,
        ):
            await http.get(f"{url}/mcp", follow_redirects=True)
    assert ear.heard == [("/mcp", VALUE)]
    assert other.heard == [("/end", None), ("/", None)]


async def test_a_redirect_within_the_server_keeps_them(serve: Serve) -> None:
    ear = _leading("/end")
    async with (
        serve(ear, free_port()) as url,
        open_client(5, on_request=[headers_for(f"{url}/mcp", EXTRA)]) as http,
    ):
        await http.get(f"{url}/mcp", follow_redirects=True)
    assert ear.heard == [("/mcp", VALUE), ("/end", VALUE), ("/", VALUE)]


async def test_the_authorization_server_never_sees_them_even_at_the_same_origin(
    serve: Serve, tmp_path: Path
) -> None:
    authority = Authority()
    ear = Ear(authority.app())
    async with serve(ear, free_port()) as url, LoopbackListener(free_port()) as listener:
        authority.url = url
        login = OAuthClient(
            authority.resource, listener=listener, approval=Visit(), tokens=TokenStore(tmp_path)
        )
        hook = headers_for(authority.resource, EXTRA)
        async with open_client(5, auth=login, on_request=[hook]) as http:
            assert (await http.get(authority.resource)).json() == {"hello": "world"}
    assert {value for path, value in ear.heard if path == "/mcp"} == {VALUE}
    assert {path for path, _ in ear.heard} >= {"/oauth/register", "/oauth/authorize", "/oauth/token"}
    assert {value for path, value in ear.heard if path != "/mcp"} == {None}


async def test_they_never_replace_what_the_protocol_or_the_login_has_set(serve: Serve) -> None:
    ear = Ear(Starlette())
    async with (
        serve(ear, free_port()) as url,
        open_client(5, on_request=[headers_for(f"{url}/mcp", EXTRA)]) as http,
    ):
        await http.get(f"{url}/mcp", headers={NAME: "mine"})
    assert ear.heard == [("/mcp", "mine")]
