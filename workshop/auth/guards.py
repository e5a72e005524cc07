"""Middleware of a protected server: host, origin and framing, web pages of this computer, bearer tokens."""

import logging
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from workshop.auth.config_reader import origin_of, split_url
from workshop.auth.http import RefusedError, private_json, query_parameters, refused
from workshop.auth.outside_tokens import Caller, KeysUnavailableError, OutsideTokens
from workshop.auth.resource_server import PROTECTED_RESOURCE_PATH, Challenge, resource_document
from workshop.core.errors import UsageError

_BAD_REQUEST = 400
# The empty name is for an empty list element, which a header may have (RFC 9110 section 5.6.1).
_HOPS = frozenset(
    {b"", b"close", b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization"}
    | {b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings"}
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
        self._hosts = {host.encode() for known in self._origins for host in _hosts(known)}
        self._probe_hosts = self._hosts | {urlsplit(known).netloc.encode() for known in loopback}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        problem = self._problem(scope["path"], scope["headers"])
        if problem is None:
            await self._app(scope, receive, send)
            return
        status, error, description = problem
        # What follows such a request on its connection is not believed either.
        headers = {"connection": "close"} if status == _BAD_REQUEST else {}
        await refused(status, error, description, headers).response(scope, receive, send)

    def _problem(self, path: str, headers: Iterable[tuple[bytes, bytes]]) -> tuple[int, str, str] | None:
        sent, origins, connections = [], [], []  # each header is looked at once: every call passes here
        for name, value in headers:
            if name == b"host":
                sent.append(value.lower())
            elif name == b"origin":
                origins.append(value.decode("latin-1").lower())
            elif name == b"connection":
                connections += value.lower().split(b",")
        # Against DNS rebinding: a page whose name now leads here still sends that name (CVE-2025-66414).
        if len(sent) != 1 or sent[0] not in (self._probe_hosts if path == "/health" else self._hosts):
            return (
                421,
                "misdirected_request",
                f"This server answers at {self._home}; use exactly that address",
            )
        if any(origin not in self._origins for origin in origins):
            return 403, "forbidden_origin", "Requests from other web pages are refused"
        if any(name.strip() not in _HOPS for name in connections):
            # The next proxy may remove the named header after we have checked it.
            return _BAD_REQUEST, "invalid_request", "Connection may only name hop-by-hop headers"
        return None


def _hosts(origin: str) -> set[str]:
    parts = urlsplit(origin.lower())
    default = _DEFAULT_PORTS[parts.scheme]
    hosts = {parts.netloc}
    # Clients may write the scheme's default port or leave it out (RFC 9110 section 4.2.3).
    if parts.port is None:
        hosts.add(parts.netloc + default)
    elif parts.netloc.endswith(default):
        hosts.add(parts.netloc.removesuffix(default))
    return hosts


# http, because a loopback address seldom has a certificate. `null` (files, sandboxed frames) is no address.
_LOOPBACK_ORIGIN = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")
_PUBLIC_PATHS = "/.well-known/"


class Cors:
    """Lets pages of other loopback origins read the answers at some paths, without cookies.

    Starlette's CORSMiddleware gets only requests from such pages. Their Origin header is removed from what it
    passes on, because the check of Origin that follows refuses every other page, and every other path.
    """

    def __init__(self, app: ASGIApp, paths: Iterable[str]) -> None:
        """`paths` are exact; metadata below `/.well-known/` is public, so it is always among them."""
        self._app = app
        self._paths = frozenset(paths)
        self._readable = CORSMiddleware(
            self._without_origin,
            allow_origin_regex=_LOOPBACK_ORIGIN.pattern,
            allow_methods=("GET", "HEAD", "POST", "DELETE"),
            # The names of `Mcp-…` headers and of a credential of one's own are not known beforehand.
            allow_headers=("*",),
            # A script cannot read other headers of another origin's answer, and a client needs these two.
            expose_headers=("Mcp-Session-Id", "WWW-Authenticate"),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._is_readable(scope):
            await self._readable(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_readable(self, scope: Scope) -> bool:
        path: str = scope["path"]
        is_public = path.startswith(_PUBLIC_PATHS)
        if not is_public and b"origin" not in [name for name, _ in scope["headers"]]:
            return False  # most requests
        headers = Headers(scope=scope)
        origins = headers.getlist("origin")
        if not origins or origins == [f"http://{headers.get('host', '')}"]:
            return is_public and not origins  # for `Vary: Origin`: caches keep these answers
        is_loopback = len(origins) == 1 and _LOOPBACK_ORIGIN.fullmatch(origins[0]) is not None
        return is_loopback and (is_public or path in self._paths)

    async def _without_origin(self, scope: Scope, receive: Receive, send: Send) -> None:
        rest = [pair for pair in scope["headers"] if pair[0].lower() != b"origin"]
        await self._app({**scope, "headers": rest}, receive, send)


_LOG = logging.getLogger(__name__)
_CALLER = "workshop.caller"
_NO_KEYS = "The issuer's keys are not available now"
_READ = ("GET", "HEAD")
_PASSED_ON = ("www-authenticate", "retry-after")


class BearerGuard:
    """Lets a request through to `app` with a valid token only; the app gets its `caller_of`, not the token.

    Public are `/health` and the metadata of the resource (RFC 9728), at the root and at the resource's path.
    What the app has not got it cannot forward: the Authorization header stays here. Pages on this computer
    may read the metadata and the resource (`Cors`).
    """

    def __init__(
        self,
        app: ASGIApp,
        tokens: OutsideTokens,
        resource: str,
        *,
        refusals: Mapping[int, Mapping[str, str]] | None = None,
    ) -> None:
        """`refusals` has the JSON bodies that replace ours, by status.

        Raises UsageError for a `resource` that is not an absolute URL.
        """
        parts = split_url(resource)
        # The challenge has the resource between quotes.
        if parts is None or '"' in resource:
            raise UsageError(f"The protected resource {resource!r} is not an absolute http or https URL")
        origin, path = origin_of(resource), parts.path.rstrip("/")
        self._app = app
        self._tokens = tokens
        self._refusals = refusals or {}
        self._resource = resource
        self._documents = {PROTECTED_RESOURCE_PATH + below for below in ("", "/", "/mcp", "/mcp/", path)}
        self._documents.add(f"{PROTECTED_RESOURCE_PATH}{path}/")
        metadata_url = f"{origin}{PROTECTED_RESOURCE_PATH}{path}"
        self._challenge = Challenge(resource, metadata_url, tokens.issuer.requested_scopes)
        self._guarded = Cors(HostGuard(self._answer, origin, port=parts.port), [parts.path])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._guarded(scope, receive, send)
        else:
            raise RuntimeError("only HTTP is served here")

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = self._public(scope["path"], scope["method"])
        if response is None:
            try:
                caller = await self._admitted(Request(scope))
            except RefusedError as refused:
                response = self._worded(refused.response)
            else:
                headers = [pair for pair in scope["headers"] if pair[0].lower() != b"authorization"]
                await self._app({**scope, "headers": headers, _CALLER: caller}, receive, send)
                return
        await response(scope, receive, send)

    def _public(self, path: str, method: str) -> Response | None:
        if path in self._documents or path == "/health":
            if method not in _READ:
                allow = {"allow": ", ".join(_READ)}
                return private_json({"error": "method_not_allowed"}, status=405, headers=allow)
            if path == "/health":
                return private_json({"status": "ok"})
            issuer = self._tokens.issuer
            return resource_document(self._resource, issuer.authorization_servers, issuer.requested_scopes)
        # A client that looks for a document that does not exist must not be asked to sign in for it.
        return private_json({"error": "not_found"}, status=404) if path.startswith("/.well-known/") else None

    async def _admitted(self, request: Request) -> Caller:
        parameters = query_parameters(request)
        if parameters is None or "access_token" in parameters:
            # A token in a URL ends up in logs and histories (RFC 6750 section 2.3, MCP: header only).
            raise self._challenge.bad_request("Send the token in the Authorization header, not in the URL")
        token = self._challenge.token_in(Headers(scope=request.scope))
        try:
            caller = await self._tokens.verify(token)
        except KeysUnavailableError as error:
            raise refused(503, "temporarily_unavailable", _NO_KEYS, {"retry-after": "5"}) from error
        if caller is None:
            _LOG.info("token refused")
            raise self._challenge.bad_token()
        if not set(self._tokens.issuer.required_scopes) <= set(caller.scopes):
            raise self._challenge.insufficient_scope()
        return caller

    def _worded(self, response: Response) -> Response:
        body = self._refusals.get(response.status_code)
        if body is None:
            return response
        headers = {name: response.headers[name] for name in _PASSED_ON if name in response.headers}
        return private_json(body, status=response.status_code, headers=headers)


def caller_of(scope: Scope) -> Caller:
    """The caller of an admitted request; raises LookupError outside a BearerGuard."""
    if _CALLER not in scope:
        raise LookupError("no BearerGuard has admitted this request")
    caller: Caller = scope[_CALLER]
    return caller
