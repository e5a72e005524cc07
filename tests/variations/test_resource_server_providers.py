"""Keycloak, Auth0 and Entra: the shapes of their metadata, keys and access tokens, as documents of our own.

Nothing here was recorded. Each document has the members, and their kinds, that the provider's documentation
describes; the values are the test's.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.servers.gateway.harness import in_thread
from tests.variations.resource_servers import ask
from workshop.core.ports import free_port
from workshop.servers.resource_server import mk_http_app

TENANT = "0f6fd1ab-6b2c-4a58-9d0f-3b9b1b8f2a11"
API = "5d1f4a0e-2a7b-4a60-8d7a-57c3b1a0f0aa"
URL = "URL"
"""Stands for the address of the resource server."""


@dataclass(frozen=True)
class Provider:
    """One kind of provider: where its documents are below its origin, and what a person configures for it."""

    issuer: str
    discovery: str
    jwks: str
    key: dict[str, Any]
    header: dict[str, Any]
    claims: dict[str, Any]
    auth: dict[str, Any]
    not_for_us: tuple[dict[str, Any], ...]
    scope: str = "mcp:tools"
    metadata: dict[str, Any] = field(default_factory=dict)


KEYCLOAK = Provider(
    issuer="/realms/mcp",
    discovery="/realms/mcp/.well-known/openid-configuration",
    jwks="/realms/mcp/protocol/openid-connect/certs",
    key={"use": "sig", "alg": "RS256", "x5t": "mZ1", "x5t#S256": "4o", "x5c": ["MIIClzCC"]},
    header={"typ": "JWT"},
    claims={
        "jti": "onrtac:1b2c",
        "aud": [URL, "account"],
        "sub": "0ca5a8a2-3a5e-4f8b-a0a4-8a8f0c1a6f3e",
        "typ": "Bearer",
        "azp": "agent",
        "sid": "7f1c",
        "acr": "1",
        "allowed-origins": ["*"],
        "realm_access": {"roles": ["offline_access"]},
        "scope": "profile mcp:tools",
        "preferred_username": "lea",
    },
    auth={"audience": URL, "other_audiences": ["account"]},
    not_for_us=({"typ": "ID", "aud": "agent"}, {"aud": "account"}, {"typ": "Refresh"}),
)
AUTH0 = Provider(
    issuer="/",  # Auth0's issuer ends with a slash
    discovery="/.well-known/openid-configuration",
    jwks="/.well-known/jwks.json",
    key={"use": "sig", "alg": "RS256", "x5t": "NEM0", "x5c": ["MIIDCTCC"]},
    header={"typ": "at+jwt"},  # with the RFC 9068 profile; `JWT` without
    claims={
        # With the scope `openid`, a token names the tenant's userinfo endpoint, too.
        "aud": [URL, "ORIGIN/userinfo"],
        "sub": "auth0|65f0c0ffee",
        "azp": "Zk3agent",
        "scope": "openid profile mcp:tools",
        "permissions": ["mcp:tools"],
    },
    auth={"audience": URL, "other_audiences": ["ORIGIN/userinfo"]},
    not_for_us=({"aud": "Zk3agent", "header": {"typ": "JWT"}, "nonce": "n"}, {"aud": "ORIGIN/userinfo"}),
)
ENTRA = Provider(
    issuer=f"/{TENANT}/v2.0",
    discovery=f"/{TENANT}/v2.0/.well-known/openid-configuration",
    jwks=f"/{TENANT}/discovery/v2.0/keys",
    key={"use": "sig", "x5t": "u7Q", "x5c": ["MIIC/TCC"], "issuer": "ORIGIN/{tenantid}/v2.0"},  # has no `alg`
    header={"typ": "JWT"},
    claims={
        "aud": API,  # the application's ID, never a URL of ours
        "sub": "AAAAAGnZ",
        "azp": "9a3d0f66-agent",
        "azpacr": "0",
        "oid": "11a6",
        "tid": TENANT,
        "rh": "0.AR",
        "uti": "q1",
        "ver": "2.0",
        "scp": "mcp.tools",
        "preferred_username": "lea@example.com",
    },
    # A token has the short name of a scope; clients request the long one.
    auth={
        "audience": API,
        "required_scopes": ["mcp.tools"],
        "requested_scopes": [f"api://{API}/mcp.tools"],
    },
    not_for_us=(
        {"aud": "9a3d0f66-agent", "scp": None},  # an ID token is for the client
        {"aud": "00000003-0000-0000-c000-000000000000"},  # a token for Microsoft Graph
        {"iss": "https://sts.windows.net/0f6fd1ab-6b2c-4a58-9d0f-3b9b1b8f2a11/", "ver": "1.0"},
    ),
    scope=f"api://{API}/mcp.tools",
)
PROVIDERS = {"Keycloak": KEYCLOAK, "Auth0": AUTH0, "Entra": ENTRA}


@dataclass(frozen=True)
class Site:
    """A resource server that trusts a provider of this kind."""

    url: str
    origin: str
    provider: Provider
    key: RSAKey

    def token(self, *, header: dict[str, Any] | None = None, **changes: Any) -> str:
        """An access token; a claim that is None is left out."""
        now = int(time.time())
        times = {"iat": now, "nbf": now, "exp": now + 300}
        claims = {"iss": self.origin + self.provider.issuer, **times, **self.provider.claims, **changes}
        placed = moved({name: value for name, value in claims.items() if value is not None}, self)
        named = {"alg": "RS256", "kid": str(self.key.kid), **self.provider.header, **(header or {})}
        return jwt.encode(named, placed, self.key, algorithms=["RS256"])


def moved(value: Any, site: Site) -> Any:
    """`value` with this site's own addresses."""
    if isinstance(value, str):
        return site.url if value == URL else value.replace("ORIGIN", site.origin)
    if isinstance(value, dict):
        return {name: moved(inner, site) for name, inner in value.items()}
    return [moved(inner, site) for inner in value] if isinstance(value, list) else value


def documents(site: Site) -> Starlette:
    """The provider's metadata and keys."""
    provider = site.provider
    public = {**site.key.as_dict(private=False), **moved(provider.key, site)}
    if "alg" not in provider.key:
        public.pop("alg", None)
    metadata = {
        "issuer": site.origin + provider.issuer,
        "jwks_uri": site.origin + provider.jwks,
        "authorization_endpoint": f"{site.origin}/authorize",
        "token_endpoint": f"{site.origin}/token",
        "response_types_supported": ["code"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }

    async def discovery(_: Request) -> JSONResponse:
        return JSONResponse(metadata)

    async def keys(_: Request) -> JSONResponse:
        return JSONResponse({"keys": [public]})

    return Starlette(routes=[Route(provider.discovery, discovery), Route(provider.jwks, keys)])


@contextmanager
def serving(provider: Provider) -> Iterator[Site]:
    port, own = free_port(), free_port()
    key = RSAKey.generate_key(2048, auto_kid=True)
    site = Site(f"http://localhost:{own}/mcp", f"http://localhost:{port}", provider, key)
    auth = {
        "issuer": site.origin + provider.issuer,
        "jwks_uri": site.origin + provider.jwks,
        "base_url": f"http://localhost:{own}",
        "required_scopes": ["mcp:tools"],
        **moved(provider.auth, site),
    }
    app = mk_http_app(["os.path:basename"], auth=auth)
    with in_thread(documents(site), port), in_thread(app, own):
        yield site


@pytest.fixture(scope="module", params=PROVIDERS)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with serving(PROVIDERS[request.param]) as found:
        yield found


async def test_a_token_of_this_shape_is_accepted(site: Site) -> None:
    assert (await ask(site.url, site.token())).status_code == 200


async def test_a_token_that_is_not_for_us_is_refused(site: Site) -> None:
    for changes in site.provider.not_for_us:
        response = await ask(site.url, site.token(**changes))
        assert response.status_code == 401, changes
        assert 'error="invalid_token"' in response.headers["www-authenticate"]


async def test_the_configuration_is_what_the_providers_metadata_has(site: Site) -> None:
    async with httpx2.AsyncClient(trust_env=False) as http:
        provider = (await http.get(site.origin + site.provider.discovery)).json()
        own = (await http.get(f"{site.url[:-4]}/.well-known/oauth-protected-resource/mcp")).json()
    assert own["authorization_servers"] == [provider["issuer"]]
    assert own["resource"] == site.url
    assert own["scopes_supported"] == [site.provider.scope]


async def test_the_challenge_names_the_scope_that_clients_request(site: Site) -> None:
    bare = await ask(site.url)
    assert f'scope="{site.provider.scope}"' in bare.headers["www-authenticate"]
    lacking = await ask(site.url, site.token(scope="openid", scp=None))
    assert lacking.status_code == 403
    assert f'scope="{site.provider.scope}"' in lacking.headers["www-authenticate"]


async def test_without_the_setting_another_audience_is_refused() -> None:
    """Exact by default: Keycloak's and Auth0's usual lists are accepted only when they are configured."""
    for provider in (KEYCLOAK, AUTH0):
        exact = {name: value for name, value in provider.auth.items() if name != "other_audiences"}
        with serving(Provider(**{**vars(provider), "auth": exact})) as site:
            assert (await ask(site.url, site.token())).status_code == 401
            assert (await ask(site.url, site.token(aud=site.url))).status_code == 200
            assert (await ask(site.url, site.token(aud=[site.url]))).status_code == 200
