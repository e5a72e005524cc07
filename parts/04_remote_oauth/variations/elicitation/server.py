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
from typing import Annotated, Any

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from pydantic import Field
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
    RequestState,
    Resources,
    SealedRecords,
    SecretFile,
    SecretText,
    Url,
    Vault,
    own_registration,
)
from workshop.core.mistakes import Needed
from workshop.servers.variation.sdk import CallerForSdk
from workshop.servers.variation.service import FilePath, Service, count_login, main


class GatewayConfig(Service):
    """The gateway's file: who issues its callers' tokens, its own client there, and the key of its vault.

    `wait_seconds` is how long a call is held while its person is at the page. The last five keys are for
    `construct.py`, which reads the same file.
    """

    issuer: Url
    jwks_uri: Url
    authorization_endpoint: Url
    token_endpoint: Url
    client_id: Annotated[str, Field(min_length=1)]
    required_scopes: tuple[str, ...] = ()
    vault_key: Annotated[SecretFile, Field(alias="vault_key_file")]
    control: Annotated[SecretText, Field(alias="control_file")]
    store: FilePath
    wait_seconds: Annotated[float, Field(gt=0), Needed("a number of seconds above 0")] = 20.0
    providers: Mapping[str, Any] = {}
    targets: Mapping[str, Any] = {}
    state: str = ""
    output: str = ""
    control_url: Annotated[str, Field(alias="control")] = ""


def create_app(config: GatewayConfig, _: Path) -> ASGIApp:
    """Everything of the gateway on one port; all of it needs a token, save for metadata, health and pages."""
    url, resource = config.url, f"{config.url}/mcp"
    vault = Vault(config.vault_key, bound_to=url)
    records, outbound = SealedRecords(str(config.store), vault), Outbound(Patience())
    issuer = OutsideIssuer(
        config.issuer, resource, jwks_uri=config.jwks_uri, required_scopes=config.required_scopes
    )
    tokens = OutsideTokens(issuer)
    resources = Resources(records, url=url, issuer=issuer.issuer, audience=resource)
    elicitations, grants = Elicitations(records), Grants(records)
    connect = Connect(
        elicitations,
        grants,
        resources,
        records=records,
        vault=vault,
        identity=IdentityProvider(own_registration(config.model_dump()), tokens, outbound),
        url=url,
        hop=6,
        count=count_login,
    )
    tools = Tools(
        resources,
        elicitations,
        grants,
        outbound=outbound,
        states=RequestState(vault),
        url=url,
        wait_seconds=config.wait_seconds,
    )
    # Sessions, because the handshake of 2025-11-25 states only once what the client can do.
    mcp = StreamableHTTPSessionManager(tools.server())
    control = Control(resources, config.control)

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
    return Cors(HostGuard(router, url, port=config.port), ["/mcp"])


if __name__ == "__main__":
    main(GatewayConfig, create_app)
