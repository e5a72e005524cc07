"""A gateway with prefixes: one MCP server in front of several, each caller with their own credentials."""

from pathlib import Path

from broker import Broker
from gate import UNAUTHORIZED, Gate
from registrations import GatewayConfig
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from workshop.auth import BearerGuard, InternalTokens, OutsideIssuer, OutsideTokens, load_signing_key
from workshop.servers.variation.service import main


def create_app(config: GatewayConfig, _: Path) -> ASGIApp:
    """The gateway; raises UsageError for an unusable key or issuer."""
    resource = f"{config.url}/mcp"
    challenge = f'Bearer resource_metadata="{config.url}/.well-known/oauth-protected-resource/mcp"'
    passes = InternalTokens(config.url, load_signing_key(config.signing_key, "signing_key_file"))
    broker = Broker(config.registrations, passes)
    mcp = Gate(broker.server.streamable_http_app(stateless_http=True), config.registrations, challenge)
    issuer = OutsideIssuer(
        config.issuer, resource, jwks_uri=config.jwks_uri, required_scopes=config.required_scopes
    )
    guarded = BearerGuard(mcp, OutsideTokens(issuer), resource, refusals={401: UNAUTHORIZED})
    return Starlette(
        routes=[Route("/.well-known/jwks.json", passes.keys), Mount("/", guarded)],
        lifespan=lambda _: broker.server.session_manager.run(),
    )


if __name__ == "__main__":
    main(GatewayConfig, create_app)
