"""A gateway with prefixes: one MCP server in front of several, each caller with their own credentials."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from broker import Broker
from gate import UNAUTHORIZED, Gate
from mcp.server.transport_security import TransportSecuritySettings
from registrations import GatewayConfig, Registered
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp
from status import STATUS_PATH, show_status

from workshop.auth import (
    BearerGuard,
    InternalTokens,
    OutsideIssuer,
    OutsideTokens,
    load_signing_key,
    private_json,
)
from workshop.servers.variation.service import CountedLogins, main

# The SDK's own check accepts names of loopback only.
_THE_GUARD_CHECKS_HOSTS = TransportSecuritySettings(enable_dns_rebinding_protection=False)


def create_app(config: GatewayConfig, file: Path) -> ASGIApp:
    """The gateway; raises UsageError for an unusable key or issuer."""
    resource = f"{config.url}/mcp"
    challenge = f'Bearer resource_metadata="{config.url}/.well-known/oauth-protected-resource/mcp"'
    passes = InternalTokens(config.url, load_signing_key(config.signing_key, "signing_key_file"))
    registered = Registered(config, file)
    broker = Broker(registered, passes)
    app = broker.server.streamable_http_app(stateless_http=True, transport_security=_THE_GUARD_CHECKS_HOSTS)
    mcp = Gate(app, registered, challenge)
    issuer = OutsideIssuer(
        config.issuer,
        resource,
        jwks_uri=config.jwks_uri,
        required_scopes=config.required_scopes,
        other_audiences=config.other_audiences,
    )
    guarded = BearerGuard(CountedLogins(mcp), OutsideTokens(issuer), resource, refusals={401: UNAUTHORIZED})

    async def status(request: Request) -> Response:
        if not passes.is_valid(request.headers.get("authorization", ""), config.url + STATUS_PATH):
            return private_json(UNAUTHORIZED, status=401)
        return private_json({"registrations": [asdict(one) for one in await broker.status()]})

    @asynccontextmanager
    async def running(_: object) -> AsyncIterator[None]:
        async with broker.server.session_manager.run():
            watching = asyncio.create_task(registered.watch())
            yield
            watching.cancel()

    return Starlette(
        routes=[
            Route("/.well-known/jwks.json", passes.keys),
            Route(STATUS_PATH, status),
            Mount("/", guarded),
        ],
        lifespan=running,
    )


if __name__ == "__main__":
    if "--status" in sys.argv:
        sys.exit(show_status())
    main(GatewayConfig, create_app)
