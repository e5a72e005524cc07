"""Host, Origin, framing, before anything else: no web page gets to us by DNS rebinding (MCP R9)."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from workshop.auth.responses import private_json

_BAD_REQUEST = 400
_HOPS = frozenset(
    {"", "close", "connection", "keep-alive", "proxy-authenticate", "proxy-authorization"}
    | {"proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings"}
)
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class HostGuard:
    """Answers 421 for a foreign Host, 403 for a foreign Origin, 400 for framing that is not plain.

    A server with an address of its own (an issuer, a protected resource) is served under that spelling only,
    save for `/health`: metadata, cookies and redirects name that host, and a client that used 127.0.0.1 for
    localhost would fail later and less clearly. Without one, every loopback spelling with our port is.
    """

    def __init__(self, app: ASGIApp, origin: str | None, *, port: int | None) -> None:
        """`origin` or `port` must be given."""
        self._app = app
        loopback = {f"http://{host}:{port}" for host in ("localhost", "127.0.0.1", "[::1]") if port}
        self._home = origin or f"http://localhost:{port}"
        self._origins = {origin} if origin else loopback
        self._hosts = {host for known in self._origins for host in _hosts(known)}
        self._probe_hosts = self._hosts | {urlsplit(known).netloc for known in loopback}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        problem = self._problem(scope["path"], Headers(scope=scope))
        if problem is None:
            await self._app(scope, receive, send)
            return
        status, error, description = problem
        # What follows such a request on its connection is not believed either.
        headers = {"connection": "close"} if status == _BAD_REQUEST else {}
        body = {"error": error, "error_description": description}
        response = private_json(body, status=status, headers=headers)
        await response(scope, receive, send)

    def _problem(self, path: str, headers: Headers) -> tuple[int, str, str] | None:
        hosts = self._probe_hosts if path == "/health" else self._hosts
        sent = [value.lower() for value in headers.getlist("host")]
        if len(sent) != 1 or sent[0] not in hosts:
            return (
                421,
                "misdirected_request",
                f"This server answers at {self._home}; use exactly that address",
            )
        if any(origin.lower() not in self._origins for origin in headers.getlist("origin")):
            return 403, "forbidden_origin", "Requests from other web pages are refused"
        if not _names_hops_only(headers.getlist("connection")):
            # A proxy behind us may take the named header away after we have judged it.
            return _BAD_REQUEST, "invalid_request", "Connection may only name hop-by-hop headers"
        if "transfer-encoding" in headers and "content-length" in headers:
            # Whoever stands before us may have believed the other one (RFC 9112 section 6.3).
            return _BAD_REQUEST, "invalid_request", "Content-Length and Transfer-Encoding exclude each other"
        return None


def _names_hops_only(values: Iterable[str]) -> bool:
    return all(name.strip().lower() in _HOPS for value in values for name in value.split(","))


def _hosts(origin: str) -> set[str]:
    parts = urlsplit(origin.lower())
    default = _DEFAULT_PORTS[parts.scheme]
    hosts = {parts.netloc}
    if parts.port is None:
        hosts.add(parts.netloc + default)
    elif parts.netloc.endswith(default):
        hosts.add(parts.netloc.removesuffix(default))
    return hosts
