"""What a server counts, in Prometheus' text format; a label is never a secret, nor the name of a person."""

import json
import re
from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Histogram, generate_latest
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS"})
_PATHS = frozenset(
    {".well-known", "health", "mcp", "sse", "messages", "oauth", "auth", "register", "token", "revoke"}
    | {"callback", "connect", "signed-in", "control"}
)
_CODE = re.compile(r'\berror="([^"]*)"')
# RFC 6749, 6750, 7591, 8707, and our own; whatever else a body may hold is counted by its status.
_REASONS = frozenset(
    {"invalid_request", "invalid_client", "invalid_grant", "invalid_token", "invalid_target", "invalid_scope"}
    | {"invalid_redirect_uri", "invalid_client_metadata", "insufficient_scope", "unauthorized_client"}
    | {"unsupported_grant_type", "unsupported_response_type", "access_denied", "server_error"}
    | {"temporarily_unavailable", "misdirected_request", "forbidden_origin", "not_found"}
    | {"method_not_allowed", "unauthorized", "forbidden", "bad_request"}
)
_MOST_BYTES = 4096


class Metrics:
    """The counters of this process, and the answer at `/metrics` of `port`; one for each process."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.requests = Counter(
            "workshop_requests", "Requests, by their method, path and status", ("method", "path", "status")
        )
        self.refusals = Counter("workshop_refusals", "Requests that were refused, by reason", ("reason",))
        self.upstream = Histogram(
            "workshop_upstream_seconds", "How long an upstream took to answer", ("upstream",)
        )
        self.logins = Counter("workshop_logins", "Logins, by outcome", ("outcome",))

    def counting(self, app: ASGIApp) -> ASGIApp:
        """`app`, with every request counted, and `/metrics` on its own port."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
            elif (scope.get("server") or ("", None))[1] == self._port:
                await self._report(scope["path"])(scope, receive, send)
            else:
                answer = _Answer(send)
                try:
                    await app(scope, receive, answer.send)
                finally:
                    self._count(scope, answer)

        return counted

    def _report(self, path: str) -> Response:
        if path != "/metrics":
            return PlainTextResponse("Only /metrics is here", HTTPStatus.NOT_FOUND)
        return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

    def _count(self, scope: Scope, answer: "_Answer") -> None:
        first = scope["path"].split("/", 2)[1:2]
        path = f"/{first[0]}" if first and first[0] in _PATHS else "other"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.requests.labels(method, path, str(answer.status or "none")).inc()
        if answer.reason:
            self.refusals.labels(answer.reason).inc()


class _Answer:
    """An answer on its way: its status, and why it refuses the request, or "" if it does not."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._headers: dict[bytes, bytes] = {}
        self.status = 0
        self.reason = ""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._headers = {name.lower(): value for name, value in message.get("headers", ())}
            self.reason = _known(_redirected(self._headers.get(b"location", b"")))
        elif self.status >= HTTPStatus.BAD_REQUEST and not self.reason:
            self.reason = self._refusal(message.get("body", b""))
        await self._send(message)

    def _refusal(self, body: bytes) -> str:
        challenge = self._headers.get(b"www-authenticate", b"").decode("latin-1")
        found = _known([*_CODE.findall(challenge), *(_code_in(body) if not challenge else ())])
        if not found and challenge:
            return "no_token"
        return found or f"http_{self.status}"


def _redirected(location: bytes) -> list[str]:
    """The `error` that a redirect reports to a client (RFC 6749 section 4.1.2.1)."""
    return (
        parse_qs(urlsplit(location.decode("latin-1")).query).get("error", []) if b"error=" in location else []
    )


def _code_in(body: bytes) -> list[str]:
    """The `error` of a JSON body (RFC 6749 section 5.2)."""
    try:
        document = json.loads(body) if len(body) <= _MOST_BYTES else None
    except (ValueError, RecursionError):
        return []
    code = document.get("error") if isinstance(document, dict) else None
    return [code.lower().replace(" ", "_")] if isinstance(code, str) else []


def _known(codes: Iterable[str]) -> str:
    return next((code for code in codes if code in _REASONS), "")
