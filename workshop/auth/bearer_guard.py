"""A protected resource whose tokens an outside issuer makes: nobody gets in without (RFC 6750, RFC 9728)."""

import logging
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from workshop.auth.challenge import Challenge, RefusedError
from workshop.auth.config_reader import origin_of, split_url
from workshop.auth.guard import HostGuard
from workshop.auth.metadata import PROTECTED_RESOURCE_PATH, resource_document
from workshop.auth.outside_tokens import Caller, KeysUnavailableError, OutsideTokens
from workshop.auth.parameters import query
from workshop.auth.responses import private_json
from workshop.core.errors import UsageError

_LOG = logging.getLogger(__name__)
_CALLER = "workshop.caller"
_READ = ("GET", "HEAD")
_KEPT = ("www-authenticate", "retry-after")


class BearerGuard:
    """Lets a request through to `app` with a valid token only; the app gets its `caller_of`, not the token.

    Public are `/health` and the metadata of the resource (RFC 9728), at the root and at the resource's path.
    What the app has not got it cannot forward: the Authorization header stays here.
    """

    def __init__(
        self,
        app: ASGIApp,
        tokens: OutsideTokens,
        resource: str,
        *,
        refusals: Mapping[int, Mapping[str, str]] | None = None,
    ) -> None:
        """`refusals` has the JSON body for a status where it is to be another than ours.

        Raises UsageError for a `resource` that is no absolute URL.
        """
        parts = split_url(resource)
        if parts is None or '"' in resource:
            raise UsageError(f"The protected resource {resource!r} is no absolute http or https URL")
        origin, path = origin_of(resource), parts.path.rstrip("/")
        self._app = app
        self._tokens = tokens
        self._refusals = refusals or {}
        self._resource = resource
        self._documents = {PROTECTED_RESOURCE_PATH + place for place in ("", "/mcp", path)}
        metadata_url = f"{origin}{PROTECTED_RESOURCE_PATH}{path}"
        self._challenge = Challenge(resource, metadata_url, tokens.issuer.required_scopes)
        self._guarded = HostGuard(self._answer, origin, port=parts.port)

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
            return resource_document(self._resource, issuer.authorization_servers, issuer.required_scopes)
        # A client that looks for documents we do not have must not be told to sign in for them.
        return private_json({"error": "not_found"}, status=404) if path.startswith("/.well-known/") else None

    async def _admitted(self, request: Request) -> Caller:
        parameters = query(request)
        if parameters is None or "access_token" in parameters:
            # A token in a URL ends up in logs and histories (RFC 6750 section 2.3, MCP: header only).
            raise self._challenge.bad_request("Send the token in the Authorization header, not in the URL")
        token = self._challenge.token_in(Headers(scope=request.scope))
        try:
            caller = await self._tokens.verify(token)
        except KeysUnavailableError as error:
            raise RefusedError(_no_keys()) from error
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
        kept = {name: response.headers[name] for name in _KEPT if name in response.headers}
        return private_json(body, status=response.status_code, headers=kept)


def caller_of(scope: Scope) -> Caller:
    """Whom an admitted request speaks for; raises LookupError outside of a BearerGuard."""
    if _CALLER not in scope:
        raise LookupError("no BearerGuard has admitted this request")
    caller: Caller = scope[_CALLER]
    return caller


def _no_keys() -> Response:
    body = {"error": "temporarily_unavailable", "error_description": "The issuer's keys cannot be had now"}
    return private_json(body, status=503, headers={"retry-after": "5"})
