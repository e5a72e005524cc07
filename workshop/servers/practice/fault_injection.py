"""Where a fault that was switched on becomes a bad answer."""

from typing import Final

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from workshop.servers.practice.faults import Fault
from workshop.servers.practice.state import WRONG_USER, PracticeState

_HUGE_BYTES: Final = 16 * 1024 * 1024
_TARGETS: Final = {
    "/login/oauth/access_token": "token",
    "/login/oauth/authorize": "authorize",
    "/user": "userinfo",
    "/user/repos": "userinfo",
    "/mcp": "mcp",
}


class FaultInjection:
    """Lets the next requests to an endpoint go wrong in the way that was switched on."""

    def __init__(self, app: ASGIApp, state: PracticeState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        target = _target(scope) if scope["type"] == "http" else None
        fault = self._state.faults.take(target) if target else None
        if fault is None:
            await self._app(scope, receive, send)
        elif fault.kind == "slow":
            await self._state.faults.wait(fault.seconds)
            await self._app(scope, receive, send)
        elif fault.kind == "wrong_user":
            await self._app({**scope, WRONG_USER: True}, receive, send)
        elif fault.kind == "drop":
            await _drop(send)
        else:
            await _broken_answer(fault)(scope, receive, send)


def _target(scope: Scope) -> str | None:
    path = scope["path"]
    return "mcp" if path.startswith("/mcp/") else _TARGETS.get(path)


async def _drop(send: Send) -> None:
    """Promise more than is sent: the server then closes the connection."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"100")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"', "more_body": True})


def _broken_answer(fault: Fault) -> Response:
    if fault.kind == "500":
        return JSONResponse({"message": "Server Error (a practice fault)"}, status_code=500)
    if fault.kind == "html":
        return HTMLResponse(
            "<!doctype html><title>Practice fault</title><h1>Down for maintenance (a practice fault)</h1>"
        )
    if fault.kind == "huge":
        return Response(b'{"padding": "' + b"x" * _HUGE_BYTES + b'"}', media_type="application/json")
    return Response(b"")
