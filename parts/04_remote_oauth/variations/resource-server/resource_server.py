"""A resource server: it verifies an identity provider's tokens, issues none, and passes none on.

What it takes and refuses is the contract of py2mcp's `http.py`. Where to get a token stands in its
protected-resource metadata (RFC 9728); the network is not used before the first token comes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp.server.transport_security import TransportSecuritySettings
from references import InputTrans, Middleware, mk_mcp_from_refs
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse

from workshop.auth import LOOPBACK_HOSTS, BearerGuard, OutsideIssuer, OutsideTokens, Section
from workshop.core.errors import UsageError
from workshop.core.serving import serve
from workshop.servers.variation.sdk import CallerForSdk

HTTP = "streamable-http"
_EVERYWHERE = ("0.0.0.0", "::")
_NEEDED = {
    ("jwks_uri", "public_key"): "Without a key no signature can be judged",
    ("base_url",): "Clients need the address of this server",
    ("audience",): "Without it a token for any other server would be as good here (RFC 8707)",
    ("authorization_servers", "issuer"): "Clients need to know who issues tokens",
}
_KNOWN = frozenset({"type", "required_scopes"}.union(*_NEEDED))


class ConfigError(UsageError, ValueError):
    """`auth` is wrong; a ValueError too, as callers of the public original expect."""


@dataclass(frozen=True)
class AuthProvider:
    """Whose tokens are taken, and under which address this server is known."""

    tokens: OutsideTokens
    base_url: str


def mk_auth_provider(config: object) -> AuthProvider | None:
    """What `auth` describes, or None without one; raises ConfigError when a check would be left out."""
    if not config:
        return None
    if not isinstance(config, dict):
        raise ConfigError("auth must be a dict", why=f"It is a {type(config).__name__}")
    if (kind := config.get("type", "jwt")) != "jwt":
        raise ConfigError(f"Unsupported auth type {kind!r}", hint="There is one: `jwt`")
    for names, why in _NEEDED.items():
        if not any(config.get(name) for name in names):
            raise ConfigError(f"auth needs {' or '.join(f'`{name}`' for name in names)}", why=why)
    try:
        given = {key: value for key, value in config.items() if value or key not in _KNOWN}
        return _provider(Section.of(given, "auth", known=_KNOWN))
    except UsageError as error:
        raise ConfigError(error.what, why=error.why, hint=error.hint) from error


def _provider(auth: Section) -> AuthProvider:
    servers = auth.texts("authorization_servers") or (auth.text("issuer"),)
    for server in servers:
        Section({"authorization_servers": server}, auth.where).url("authorization_servers")
    # Of several servers only one signs for `iss`, so it has to be named.
    issuer = auth.text("issuer") if auth.has("issuer") or len(servers) > 1 else servers[0]
    jwks_uri, public_key = (
        auth.text(name) if auth.has(name) else None for name in ("jwks_uri", "public_key")
    )
    scopes = auth.texts("required_scopes")
    outside = OutsideIssuer(issuer, auth.text("audience"), jwks_uri, public_key, scopes, servers)
    return AuthProvider(OutsideTokens(outside), auth.url("base_url").rstrip("/"))


def mk_http_app(
    refs: Iterable[str],
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
        refs, name=name, input_trans=input_trans, middleware=middleware, instructions=instructions
    )
    server.custom_route("/health", ["GET"])(_health)
    # The guard knows the right host; without it, the SDK accepts every name of loopback.
    hosts = TransportSecuritySettings(enable_dns_rebinding_protection=False) if provider else None
    app = server.streamable_http_app(
        streamable_http_path=path, stateless_http=stateless_http, transport_security=hosts
    )
    if provider:
        app.add_middleware(CallerForSdk)
        app.add_middleware(BearerGuard, tokens=provider.tokens, resource=provider.base_url + path)
    return app


def serve_http(
    refs: Iterable[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    while_exists: Path = Path(__file__),
    **options: Any,  # noqa: ANN401 - those of mk_http_app
) -> None:
    """Serve what `mk_http_app` makes, until SIGTERM; raises UsageError for a public host without `auth`."""
    app = mk_http_app(refs, **options)
    if host not in LOOPBACK_HOSTS and not options.get("auth"):
        raise UsageError(f"Without `auth`, nothing is served at {host}", why="Others would reach it too")
    if host not in LOOPBACK_HOSTS and host not in _EVERYWHERE:
        raise UsageError(f"{host!r} is neither loopback nor 0.0.0.0")
    serve(app, port=port, while_exists=while_exists, everywhere=host in _EVERYWHERE)


async def _health(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})
