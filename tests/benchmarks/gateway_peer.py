"""The benchmark's peer: FastMCP's `OAuthProxy` and `create_proxy`, given the same job as our gateway.

Set up in its favour: tokens kept in memory instead of an encrypted file for each, and the upstream token
verified once instead of at every request. `--tuned` also shares one connection pool between its upstream
clients, which nothing tells people to do. Left alone it would pass the client's own token on to the upstream,
which MCP forbids; `_UpstreamToken` mends that.

Run by the benchmark: python -m tests.benchmarks.gateway_peer --config FILE (our gateway's own) [--tuned]
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from fastmcp.client.transports import StreamableHttpTransport
from fastmcp.server import create_proxy
from fastmcp.server.auth import AccessToken, OAuthProxy, TokenVerifier
from fastmcp.server.dependencies import get_access_token
from key_value.aio.stores.memory import MemoryStore

from workshop.auth.config import Auth, UserInfo
from workshop.core.ports import bind_loopback
from workshop.servers.gateway.config import GatewayConfig, load

_SECONDS = 30


class _OnceVerified(TokenVerifier):
    """Asks the upstream's userinfo endpoint about a token once, and believes it from then on."""

    def __init__(self, userinfo: UserInfo) -> None:
        super().__init__()
        self._userinfo = userinfo
        self._known: dict[str, AccessToken] = {}

    async def verify_token(self, token: str) -> AccessToken | None:
        if token not in self._known:
            async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http:
                answer = await http.get(self._userinfo.url)
            if not answer.is_success:
                return None
            self._known[token] = AccessToken(token=token, client_id=str(answer.json()["id"]), scopes=[])
        return self._known[token]


class _UpstreamToken(httpx2.Auth):
    """The user's upstream token in place of the client's own."""

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        token = get_access_token()
        request.headers.pop("Authorization", None)
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token.token}"
        yield request


class _Shared(httpx2.AsyncHTTPTransport):
    """A connection pool that outlives the clients that close it."""

    async def aclose(self) -> None:
        """Stay open."""

    async def __aexit__(self, *_: object) -> None:
        """Stay open."""


def _transport(config: GatewayConfig, *, tuned: bool) -> StreamableHttpTransport:
    if not tuned:
        return StreamableHttpTransport(config.remote_url, auth=_UpstreamToken())
    # Kept for less than the 5 s after which uvicorn closes an idle connection.
    pool = _Shared(limits=httpx2.Limits(keepalive_expiry=3))

    def client(
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
        **options: Any,
    ) -> httpx2.AsyncClient:
        given = {"headers": headers, "timeout": timeout or _SECONDS, "auth": auth, **options}
        return httpx2.AsyncClient(transport=pool, **given)

    return StreamableHttpTransport(config.remote_url, auth=_UpstreamToken(), httpx_client_factory=client)


def _sign_in(config: GatewayConfig, auth: Auth) -> OAuthProxy:
    upstream = auth.upstream
    if upstream.userinfo is None:
        raise SystemExit("the benchmark's configuration has a userinfo endpoint")
    return OAuthProxy(
        upstream_authorization_endpoint=upstream.authorization_endpoint,
        upstream_token_endpoint=upstream.token_endpoint,
        upstream_client_id=upstream.client_id,
        upstream_client_secret=upstream.client_secret,
        token_verifier=_OnceVerified(upstream.userinfo),
        base_url=f"http://localhost:{config.port}",
        redirect_path="/oauth/callback",
        valid_scopes=list(upstream.scopes),
        extra_authorize_params={"scope": " ".join(upstream.scopes)},
        client_storage=MemoryStore(),
        jwt_signing_key=auth.secrets[0],
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--tuned", action="store_true")
    arguments = parser.parse_args()
    config = load(arguments.config)
    if config.auth is None:
        sys.exit("the benchmark's configuration has an authorization server")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    proxy = create_proxy(_transport(config, tuned=arguments.tuned), auth=_sign_in(config, config.auth))
    server = uvicorn.Server(uvicorn.Config(proxy.http_app(), log_config=None, server_header=False))
    asyncio.run(server.serve(sockets=bind_loopback(config.port)))


if __name__ == "__main__":
    main()
