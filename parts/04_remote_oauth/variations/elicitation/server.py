"""A gateway with a token vault: it checks the client's token, keeps GitHub's, asks for it by URL elicitation.

    A  POST /mcp, tools/call with a token of the identity provider
    │  no grant of this person at GitHub: -32042 (2025-11-25), or an input-required result (2026-07-28)
    ▼
browser  /connect ─▶ identity provider ─▶ /signed-in: is it who asked? ─▶ approve ─▶ GitHub ─▶ /oauth/callback
    ▲
    │  the same call again: answered, with GitHub's token from the vault
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.routing import Route, Router
from starlette.types import ASGIApp
from target_tools import Tools

from workshop.auth import (
    BearerGuard,
    Connect,
    Control,
    Cors,
    Elicitations,
    Grants,
    HostGuard,
    IdentityProvider,
    Outbound,
    OutsideIssuer,
    OutsideTokens,
    Patience,
    RequestLog,
    RequestState,
    Resources,
    SealedRecords,
    Vault,
    own_registration,
)
from workshop.core.serving import main
from workshop.servers.variation.sdk import CallerForSdk


def create_app(config: Mapping[str, Any]) -> ASGIApp:
    """Everything of the gateway on one port; all of it needs a token, save for metadata, health and pages."""
    url, resource = config["url"], f"{config['url']}/mcp"
    vault = Vault(Path(config["vault_key_file"]).read_bytes(), bound_to=url)
    records, outbound = SealedRecords(config["store"], vault), Outbound(Patience())
    scopes = tuple(config.get("required_scopes", ()))
    issuer = OutsideIssuer(config["issuer"], resource, jwks_uri=config["jwks_uri"], required_scopes=scopes)
    tokens = OutsideTokens(issuer)
    resources = Resources(records, url=url, issuer=issuer.issuer, audience=resource)
    elicitations, grants = Elicitations(records), Grants(records)
    connect = Connect(
        elicitations,
        grants,
        resources,
        records=records,
        vault=vault,
        identity=IdentityProvider(own_registration(config), tokens, outbound),
        url=url,
        hop=6,
    )
    tools = Tools(
        resources,
        elicitations,
        grants,
        outbound=outbound,
        states=RequestState(vault),
        url=url,
        wait_seconds=config.get("wait_seconds", 20.0),
    )
    # Sessions, for the handshake of 2025-11-25 says once what the client can do.
    mcp = StreamableHTTPSessionManager(tools.server())
    control = Control(resources, Path(config["control_file"]).read_text("utf-8"))

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        async with outbound, mcp.run():
            yield
        records.close()

    guarded = BearerGuard(CallerForSdk(mcp.asgi_app), tokens, resource)
    router = Router(
        [Route("/mcp", guarded), *connect.routes(), *control.routes()], default=guarded, lifespan=lifespan
    )
    router.redirect_slashes = False
    return RequestLog(Cors(HostGuard(router, url, port=config["port"]), ["/mcp"]))


if __name__ == "__main__":
    main(create_app)
