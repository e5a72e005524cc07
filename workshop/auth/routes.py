"""The paths of the authorization server, as ToolHive has them, and how their failures are answered."""

from collections.abc import Awaitable, Callable, Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from workshop.auth.authorize import authorize
from workshop.auth.callback import callback
from workshop.auth.clients import register
from workshop.auth.consent import consent
from workshop.auth.limits import FORM_BYTES, BodyTooLargeError, ClientGoneError
from workshop.auth.metadata import (
    PROTECTED_RESOURCE_PATH,
    authorization_server,
    jwks,
    openid_configuration,
    protected_resource,
)
from workshop.auth.oauth_errors import OAuthError, PageError
from workshop.auth.pages import error_page
from workshop.auth.responses import error_json, private_json
from workshop.auth.revoke import revoke
from workshop.auth.server import AuthServer
from workshop.auth.store import Store
from workshop.auth.token_endpoint import token

Handler = Callable[[Request], Awaitable[Response]]
ServerHandler = Callable[[AuthServer, Request], Awaitable[Response]]
_READ = ("GET", "HEAD")
_ANY = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_AUTHORIZATION_SERVER_PATH = "/.well-known/oauth-authorization-server"
_OPENID_PATH = "/.well-known/openid-configuration"


class Endpoint:
    """One handler for exactly the given methods; HEAD is not GET where a GET has an effect."""

    def __init__(self, handler: Handler, methods: Iterable[str]) -> None:
        self._handler = handler
        self._methods = tuple(methods)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._respond(Request(scope, receive))
        except ClientGoneError:
            return
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method not in self._methods:
            allow = {"allow": ", ".join(self._methods)}
            return private_json({"error": "method_not_allowed"}, status=405, headers=allow)
        try:
            return await self._handler(request)
        except OAuthError as error:
            return error_json(error)
        except PageError as error:
            return error_page(error.title, error.text, status=error.status)
        except BodyTooLargeError:
            description = f"A request body has at most {FORM_BYTES} bytes"
            return error_json(OAuthError("invalid_request", description, status=413))


def auth_routes(server: AuthServer) -> list[BaseRoute]:
    """A gateway's: it is the protected resource, and the authorization server too."""
    return [
        server_route(server, PROTECTED_RESOURCE_PATH, protected_resource, *_READ),
        server_route(server, f"{PROTECTED_RESOURCE_PATH}/mcp", protected_resource, *_READ),
        *authorization_server_routes(server),
    ]


def authorization_server_routes(server: AuthServer) -> list[BaseRoute]:
    """Discovery and OAuth endpoints; metadata also below its path, where clients of path-ful servers look."""

    def route(path: str, handler: ServerHandler, *methods: str) -> Route:
        return server_route(server, path, handler, *methods)

    return [
        route(_AUTHORIZATION_SERVER_PATH, authorization_server, *_READ),
        route(f"{_AUTHORIZATION_SERVER_PATH}/{{rest:path}}", authorization_server, *_READ),
        route(_OPENID_PATH, openid_configuration, *_READ),
        route(f"{_OPENID_PATH}/{{rest:path}}", openid_configuration, *_READ),
        route("/.well-known/jwks.json", jwks, *_READ),
        route("/oauth/register", register, "POST"),
        route("/oauth/authorize", authorize, "GET"),
        route("/oauth/consent", consent, "POST"),
        route("/oauth/callback", callback, "GET"),
        route("/oauth/token", token, "POST"),
        route("/oauth/revoke", revoke, "POST"),
        Route("/oauth/{rest:path}", Endpoint(_not_found, _ANY)),
    ]


def server_route(server: AuthServer, path: str, handler: ServerHandler, *methods: str) -> Route:
    return Route(path, Endpoint(lambda request: handler(server, request), methods))


def common_routes(store: Store | None) -> list[BaseRoute]:
    """Health, and a plain 404 for well-known documents we do not have."""

    async def health(request: Request) -> Response:
        del request
        if store is not None:
            store.ping()
        return private_json({"status": "ok"})

    return [
        Route("/health", Endpoint(health, _READ)),
        Route("/.well-known/{rest:path}", Endpoint(_not_found, _ANY)),
    ]


async def _not_found(request: Request) -> Response:
    del request
    return private_json({"error": "not_found"}, status=404)
