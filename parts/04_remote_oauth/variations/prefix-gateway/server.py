"""A gateway with prefixes: one MCP server in front of several, each caller with their own credentials."""

from collections.abc import Mapping
from typing import Any

from broker import Broker
from gate import UNAUTHORIZED, Gate
from registrations import read_registrations
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from workshop.auth import BearerGuard, InternalTokens, OutsideIssuer, OutsideTokens, Section, load_signing_key
from workshop.core.serving import main

_KNOWN = frozenset(
    {"port", "url", "issuer", "jwks_uri", "required_scopes", "signing_key_file", "registrations"}
)


def create_app(config: Mapping[str, Any]) -> ASGIApp:
    """The gateway; raises UsageError when the configuration is wrong."""
    section = Section.of(dict(config), "", known=_KNOWN)
    url, registered = section.url("url"), read_registrations(section)
    resource = f"{url}/mcp"
    challenge = f'Bearer resource_metadata="{url}/.well-known/oauth-protected-resource/mcp"'
    key = load_signing_key(section.secret_file("signing_key_file"), "signing_key_file")
    passes = InternalTokens(url, key)
    broker = Broker(registered, passes)
    mcp = Gate(broker.server.streamable_http_app(stateless_http=True), registered, challenge)
    issuer = OutsideIssuer(
        section.url("issuer"),
        resource,
        jwks_uri=section.url("jwks_uri"),
        required_scopes=section.texts("required_scopes"),
    )
    guarded = BearerGuard(mcp, OutsideTokens(issuer), resource, refusals={401: UNAUTHORIZED})
    return Starlette(
        routes=[Route("/.well-known/jwks.json", passes.keys), Mount("/", guarded)],
        lifespan=lambda _: broker.server.session_manager.run(),
    )


if __name__ == "__main__":
    main(create_app)
