"""Faults that can be switched on, to show how a client behaves when GitHub fails."""

import asyncio
import contextlib
from dataclasses import dataclass, replace
from typing import Any, Final

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from workshop.core.errors import UsageError

TARGETS = {
    "token": "POST /login/oauth/access_token",
    "userinfo": "GET /user and /user/repos",
    "mcp": "the MCP endpoint",
    "authorize": "the authorize page",
}
FAULTS = {
    "slow": "answers after `seconds`",
    "500": "answers 500",
    "html": "answers 200 with a page of HTML",
    "empty": "answers 200 with an empty body",
    "huge": "answers 200 with 16 MiB of JSON",
    "access_denied": "sends the browser back as if the person had denied access",
    "application_suspended": "sends the browser back as for a suspended app",
    "redirect_uri_mismatch": "refuses the callback URL",
    "incorrect_client_credentials": "refuses the app's client ID and secret",
    "bad_verification_code": "refuses the code",
    "unverified_user_email": "refuses an account without a verified e-mail address",
    "401": "answers that the token is not valid",
    "403": "answers that the token may not do this",
    "404": "answers that nothing is here",
    "429": "answers that there were too many requests",
    "wrong_user": "acts for the other practice user",
    "drop": "closes the connection in the middle of the answer",
    "revoked": "makes the tokens of `user` (or of all) invalid, at once",
    "none": "switches the fault of the target off",
}
WRONG_USER: Final = "practice.wrong_user"
"""The key in the ASGI scope of a request that acts for the other user."""
REFUSAL: Final = "practice.refusal"
"""The key in the ASGI scope for GitHub's error code, or status, that a request is refused with."""
_REFUSALS: Final = {
    "authorize": {"access_denied", "application_suspended", "redirect_uri_mismatch"},
    "token": {
        "incorrect_client_credentials",
        "bad_verification_code",
        "redirect_uri_mismatch",
        "unverified_user_email",
    },
    "userinfo": {"401", "403", "404", "429"},
}
_EVERY_REFUSAL: Final = set[str]().union(*_REFUSALS.values())
_MOST_SECONDS = 120.0
_MOST_TIMES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault at one endpoint, for the next `times` requests."""

    target: str
    kind: str
    times: int = 1
    seconds: float = 5.0
    user: str | None = None


def parse(raw: Any, users: set[str]) -> Fault:  # noqa: ANN401 - JSON can be anything
    """The fault in a posted JSON document. Raises UsageError that names the wrong field."""
    if not isinstance(raw, dict):
        raise UsageError("A fault is a JSON object")
    fault = Fault(
        target=raw.get("target", "mcp" if raw.get("fault") == "revoked" else ""),
        kind=raw.get("fault", ""),
        times=raw.get("times", 1),
        seconds=raw.get("seconds", 5.0),
        user=raw.get("user"),
    )
    _require(
        isinstance(fault.kind, str) and fault.kind in FAULTS, f"`fault` must be one of {', '.join(FAULTS)}"
    )
    _require(
        isinstance(fault.target, str) and fault.target in TARGETS,
        f"`target` must be one of {', '.join(TARGETS)}",
    )
    own = _REFUSALS.get(fault.target, set())
    elsewhere = fault.kind in _EVERY_REFUSAL - own
    _require(not elsewhere, f"{TARGETS[fault.target]} can refuse with {', '.join(sorted(own)) or 'nothing'}")
    # `type`, not `isinstance`: JSON's true is a bool, which is an int.
    _require(
        type(fault.times) is int and 0 < fault.times <= _MOST_TIMES, "`times` must be a positive integer"
    )
    in_range = type(fault.seconds) in {int, float} and 0 <= fault.seconds <= _MOST_SECONDS
    _require(in_range, f"`seconds` must be between 0 and {_MOST_SECONDS:g}")
    _require(
        fault.user is None or (isinstance(fault.user, str) and fault.user in users),
        f"`user` must be one of {', '.join(sorted(users))}",
    )
    return fault


def _require(holds: bool, why: str) -> None:  # noqa: FBT001 - a check reads as a sentence
    if not holds:
        raise UsageError("This fault cannot be set", why=why)


class Faults:
    """The active faults, at most one per endpoint."""

    def __init__(self) -> None:
        self._active: dict[str, Fault] = {}
        self._released = asyncio.Event()

    @property
    def active(self) -> tuple[Fault, ...]:
        return tuple(self._active.values())

    def set(self, fault: Fault) -> None:
        """Switch a fault on, in place of the one its endpoint had; `none` switches it off."""
        self._active.pop(fault.target, None)
        if fault.kind != "none":
            self._active[fault.target] = fault

    def take(self, target: str) -> Fault | None:
        """The fault for this request, if any; counts it."""
        fault = self._active.get(target)
        if fault and fault.times == 1:
            del self._active[target]
        elif fault:
            self._active[target] = replace(fault, times=fault.times - 1)
        return fault

    async def wait(self, seconds: float) -> None:
        """Delay a request, at most until the faults are cleared."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._released.wait()

    def clear(self) -> None:
        """Switch everything off; delayed requests continue."""
        self._active.clear()
        self._released.set()
        # Requests that wait hold the old event, which remains set.
        self._released = asyncio.Event()


_HUGE_BYTES: Final = 16 * 1024 * 1024  # twice the gateway's largest limit, `REWRITE_BYTES`
_PATHS: Final = {
    "/login/oauth/access_token": "token",
    "/login/oauth/authorize": "authorize",
    "/user": "userinfo",
    "/user/repos": "userinfo",
    "/mcp": "mcp",
}


class FaultInjection:
    """Applies the active fault to the next requests to an endpoint."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        target = _target(scope) if scope["type"] == "http" else None
        fault = self._faults.take(target) if target else None
        if fault is None:
            await self._app(scope, receive, send)
        elif fault.kind == "slow":
            await self._faults.wait(fault.seconds)
            await self._app(scope, receive, send)
        elif fault.kind == "wrong_user":
            await self._app({**scope, WRONG_USER: True}, receive, send)
        elif fault.kind in _EVERY_REFUSAL:
            await self._app({**scope, REFUSAL: fault.kind}, receive, send)
        elif fault.kind == "drop":
            await _drop(send)
        else:
            await _broken_answer(fault)(scope, receive, send)


def _target(scope: Scope) -> str | None:
    path = scope["path"]
    return "mcp" if path.startswith("/mcp/") else _PATHS.get(path)


async def _drop(send: Send) -> None:
    """Announce more bytes than are sent; the server then closes the connection."""
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
