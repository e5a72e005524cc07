"""Plain functions as a resource server: it verifies an identity provider's tokens, and issues none.

What it accepts and refuses is the contract of py2mcp's `main.py` and `http.py`. Its protected-resource
metadata (RFC 9728) leads clients to the provider.
"""

import difflib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from anyio import to_thread
from mcp.server.context import ServerMiddleware
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import BaseModel, ConfigDict
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse

from workshop.auth import LOOPBACK_HOSTS, BearerGuard, OutsideIssuer, OutsideTokens, Url
from workshop.core.errors import UsageError
from workshop.core.files import validated
from workshop.core.serving import serve
from workshop.servers.variation.sdk import CallerForSdk
from workshop.servers.variation.service import CountedLogins

Function = Callable[..., Any]
InputTrans = Callable[[dict[str, Any]], dict[str, Any]]
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def add_functions(server: MCPServer, found: Iterable[tuple[str, Function]], trans: InputTrans | None) -> None:
    """Add each function as a tool; the text beside it names it in errors.

    Raises UsageError without any, for two of one name, and for one that cannot be a tool.
    """
    taken: dict[str, str] = {}
    for text, function in found:
        name = function.__name__
        if taken.setdefault(name, text) != text:
            raise UsageError(f"`{taken[name]}` and `{text}` would be tools of one name")
        try:
            server.add_tool(_tool(function, trans))
        # The SDK and pydantic have errors of their own for what they cannot describe.
        except Exception as error:
            raise UsageError(f"`{text}` cannot be a tool", why=f"{type(error).__name__}: {error}") from error
    if not taken:
        raise UsageError(
            "There is no function to serve",
            hint="Name one after `--ref`, such as `module:function`, or in `refs` of FILE",
        )


def named(found: Function | str) -> tuple[str, Function]:
    """A function and the text that names it; raises UsageError for a reference that names none."""
    if isinstance(found, str):
        return found, function_of(found)
    if not inspect.isroutine(found):
        raise UsageError(
            f"{found!r} is not a function", hint="Pass a function, or the text `module:function`"
        )
    return f"{found.__module__}:{found.__qualname__}", found


def function_of(ref: str) -> Function:
    """The function that a reference names; raises UsageError when there is none."""
    module_name, _, name = ref.partition(":")
    if not module_name or not name:
        raise UsageError(f"`{ref}` is not a reference to a function", hint="Write `module:function`")
    try:
        module = importlib.import_module(module_name)
    # An import runs the module's own code, which may raise anything.
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise UsageError(f"The module of `{ref}` cannot be imported", why=why) from error
    found = getattr(module, name, None)
    if not inspect.isroutine(found):
        near = difflib.get_close_matches(name, set(dir(module)) - {name}, n=1)
        raise UsageError(f"`{ref}` is not a function", hint=f"Is it `{near[0]}`?" if near else "")
    return found


def _tool(function: Function, input_trans: InputTrans | None) -> Function:
    """`function` behind `input_trans`; the text of its ValueError reaches the model."""
    if any(argument.kind not in _BY_NAME for argument in inspect.signature(function).parameters.values()):
        raise TypeError("a tool's arguments are passed by name, and not all of these can be")
    prepared = input_trans or dict

    async def call(**arguments: object) -> object:
        try:
            bound = functools.partial(function, **prepared(arguments))
            # In a thread, because a plain function would hold up all other calls.
            return await (bound() if inspect.iscoroutinefunction(function) else to_thread.run_sync(bound))
        except ValueError as error:
            raise ToolError(str(error)) from error

    # The SDK reads the arguments from the signature of the wrapped function.
    return functools.wraps(function)(call)


HTTP = "streamable-http"
Middleware = ServerMiddleware[Any]
_NEEDED = {
    ("jwks_uri", "public_key"): "Without a key no signature can be verified",
    ("base_url",): "Clients need the address of this server",
    ("audience",): "Without it a token for any other server would be as good here (RFC 8707)",
    ("authorization_servers", "issuer"): "Clients need to know who issues tokens",
}


class ConfigError(UsageError, ValueError):
    """`auth` is wrong; also a ValueError, as callers of py2mcp expect."""


class AuthConfig(BaseModel):
    """The keys of `auth`.

    A token's `aud` must be exactly `audience`, unless `other_audiences` lists what it may name beside it, as
    Keycloak's tokens name `account`. Clients request `requested_scopes`, where the provider names a scope
    otherwise than its tokens do, as Entra does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["jwt"] = "jwt"
    jwks_uri: Url | None = None
    public_key: str | None = None
    issuer: str = ""
    audience: str
    other_audiences: tuple[str, ...] = ()
    authorization_servers: tuple[Url, ...] = ()
    base_url: Url
    required_scopes: tuple[str, ...] = ()
    requested_scopes: tuple[str, ...] = ()


@dataclass(frozen=True)
class AuthProvider:
    """The check of the tokens that are accepted, and the public address of this server."""

    tokens: OutsideTokens
    base_url: str


def mk_auth_provider(config: object) -> AuthProvider | None:
    """The provider that `auth` describes; None without it. Raises ConfigError if a check would be missing."""
    if isinstance(config, AuthProvider):
        return config
    if not config:
        return None
    if not isinstance(config, dict):
        raise ConfigError("auth must be a dict", why=f"It is a {type(config).__name__}")
    if (kind := config.get("type", "jwt")) != "jwt":
        raise ConfigError(f"Unsupported auth type {kind!r}", hint="There is one: `jwt`")
    for names, why in _NEEDED.items():
        if not any(config.get(name) for name in names):
            raise ConfigError(f"auth needs {' or '.join(f'`{name}`' for name in names)}", why=why)
    known = AuthConfig.model_fields
    # An empty value counts as left out; an unknown key remains, so that the model refuses it.
    given = {key: value for key, value in config.items() if value or key not in known}
    try:
        return _provider(validated(AuthConfig, given, Path("auth")))
    except UsageError as error:
        raise ConfigError(error.what, why=error.why, hint=error.hint) from error


def _provider(auth: AuthConfig) -> AuthProvider:
    servers = auth.authorization_servers or (auth.issuer,)
    if len(servers) > 1 and not auth.issuer:
        raise ConfigError("auth needs `issuer`", why="Only one of several servers signs for `iss`")
    outside = OutsideIssuer(
        auth.issuer or servers[0],
        auth.audience,
        auth.jwks_uri,
        auth.public_key,
        auth.required_scopes,
        servers,
        auth.other_audiences,
        auth.requested_scopes,
    )
    return AuthProvider(OutsideTokens(outside), auth.base_url.rstrip("/"))


class FunctionServer(MCPServer):
    """The SDK's server of some functions, and the provider whose tokens its HTTP side requires."""

    auth: AuthProvider | None = None

    def http_app(self, *, path: str = "/mcp", stateless_http: bool = False) -> Starlette:
        """The server as an ASGI application, with `auth` for callers with a token only."""
        # For a server without `auth`; with it, the guard answers before.
        self.custom_route("/health", ["GET"])(_health)
        # The guard knows the right host; without it, the SDK accepts every name of loopback.
        hosts = TransportSecuritySettings(enable_dns_rebinding_protection=False) if self.auth else None
        app = self.streamable_http_app(
            streamable_http_path=path, stateless_http=stateless_http, transport_security=hosts
        )
        if self.auth:
            # The last one that is added runs first: the others need the caller that the guard found.
            app.add_middleware(CallerForSdk)
            app.add_middleware(CountedLogins)
            app.add_middleware(BearerGuard, tokens=self.auth.tokens, resource=self.auth.base_url + path)
        return app


def mk_mcp_server(
    functions: Function | Iterable[Function | str],
    *,
    name: str = "resource-server",
    auth: object = None,
    input_trans: InputTrans | None = None,
    middleware: Middleware | Iterable[Middleware] | None = None,
    instructions: str | None = None,
) -> FunctionServer:
    """A server with these functions; `auth` is a provider, or what `mk_auth_provider` accepts.

    `input_trans` gets the arguments of each call before the function does. Raises UsageError for what cannot
    be a tool, ConfigError for `auth`.
    """
    provider = mk_auth_provider(auth)
    layers = [middleware] if callable(middleware) else list(middleware or ())
    server = FunctionServer(name, instructions=instructions, middleware=layers, log_level="WARNING")
    server.auth = provider
    given = [functions] if callable(functions) else functions
    add_functions(server, map(named, given), input_trans)
    return server


# Each argument is written out, here and below, so that a type checker knows them in a caller's code.
def mk_mcp_from_refs(
    refs: Iterable[Function | str],
    *,
    name: str = "resource-server",
    auth: object = None,
    input_trans: InputTrans | None = None,
    middleware: Middleware | Iterable[Middleware] | None = None,
    instructions: str | None = None,
) -> FunctionServer:
    """`mk_mcp_server` for references: each is the text `module:function`, or a function."""
    return mk_mcp_server(
        refs,
        name=name,
        auth=auth,
        input_trans=input_trans,
        middleware=middleware,
        instructions=instructions,
    )


def mk_http_app(
    refs: Iterable[Function | str],
    *,
    name: str = "resource-server",
    auth: object = None,
    input_trans: InputTrans | None = None,
    transport: str = HTTP,
    path: str = "/mcp",
    stateless_http: bool = False,
    middleware: Middleware | Iterable[Middleware] | None = None,
    instructions: str | None = None,
) -> Starlette:
    """The functions as an ASGI application, with `auth` for callers with a token only; raises UsageError."""
    provider = mk_auth_provider(auth)
    if transport != HTTP or not path.startswith("/"):
        raise UsageError(f"{transport} at {path!r} is not served", hint=f"{HTTP}, at a path such as /mcp")
    server = mk_mcp_from_refs(
        refs,
        name=name,
        auth=provider,
        input_trans=input_trans,
        middleware=middleware,
        instructions=instructions,
    )
    return server.http_app(path=path, stateless_http=stateless_http)


def serve_http(
    refs: Iterable[Function | str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    while_exists: Path = Path(__file__),
    **options: Any,  # noqa: ANN401 - those of mk_http_app
) -> None:
    """Serve what `mk_http_app` makes, until SIGTERM; raises UsageError for a public host without `auth`."""
    app = mk_http_app(refs, **options)
    refuse_public(host, options.get("auth"))
    serve(app, port=port, while_exists=while_exists, host=host)


def refuse_public(host: str, auth: object) -> None:
    """Raise UsageError for a host that others can reach, without `auth`."""
    if host not in LOOPBACK_HOSTS and not auth:
        raise UsageError(f"Without `auth`, nothing is served at {host}", why="Others would reach it too")


async def _health(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})
