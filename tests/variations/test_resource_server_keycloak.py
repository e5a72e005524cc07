"""The documented configuration for Keycloak, with a realm that behaves so; and what a tool gets to know."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc.jwk import RSAKey
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.agent.conftest import Visit, logged_in
from tests.servers.gateway.harness import in_thread
from tests.variations.resource_servers import Keycloak, ask, keycloak_config
from workshop.core.errors import WorkshopError
from workshop.core.ports import free_port
from workshop.servers.resource_server import mk_http_app

SCOPE = "mcp:tools"


@dataclass
class Site:
    """The server as `keycloak.json` configures it, with its two hosts on this machine."""

    url: str
    keycloak: Keycloak

    def token(self, **changes: Any) -> str:
        return self.keycloak.token(**{"aud": self.url, **changes})


@contextmanager
def serving(*refs: str, mapped: bool = True) -> Iterator[Site]:
    keycloak, port, keycloak_port = Keycloak(), free_port(), free_port()
    keycloak.url = f"http://localhost:{keycloak_port}"
    site = Site(f"http://localhost:{port}/mcp", keycloak)
    keycloak.mapped = {SCOPE: site.url} if mapped else {}
    homes = {
        "https://keycloak.example.com": keycloak.url,
        "https://tools.example.com": f"http://localhost:{port}",
    }
    auth = _moved(keycloak_config()["auth"], homes)
    app = mk_http_app(refs or ["os.path:basename"], auth=auth)
    with in_thread(keycloak.app(), keycloak_port), in_thread(app, port):
        yield site


def _moved(auth: dict[str, Any], homes: dict[str, str]) -> dict[str, Any]:
    for old, new in homes.items():
        auth = {
            name: value.replace(old, new) if isinstance(value, str) else value for name, value in auth.items()
        }
    return auth


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as found:
        yield found


async def test_the_documented_addresses_are_those_of_the_realms_own_metadata(site: Site) -> None:
    async with httpx2.AsyncClient(trust_env=False) as http:
        realm = (await http.get(f"{site.keycloak.issuer}/.well-known/openid-configuration")).json()
    auth = _moved(keycloak_config()["auth"], {"https://keycloak.example.com": site.keycloak.url})
    assert (realm["issuer"], realm["jwks_uri"]) == (auth["issuer"], auth["jwks_uri"])


async def test_keycloak_is_asked_for_its_keys_once_and_not_before_the_first_token() -> None:
    with serving() as site:
        await ask(site.url)
        assert site.keycloak.asked == []
        await ask(site.url, site.token())
        await ask(site.url, site.token())
        assert site.keycloak.asked == ["certs"]


async def test_an_audience_as_text_and_one_of_a_list_are_taken(site: Site) -> None:
    assert (await ask(site.url, site.token(aud=site.url))).status_code == 200
    assert (await ask(site.url, site.token(aud=[site.url, "account"]))).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": None},  # what Keycloak issues without a mapper
        {"aud": "account"},
        {"aud": ["account", "http://localhost:1/mcp"]},
        {"aud": "agent", "typ": "ID", "azp": "agent"},  # its ID token
        {"iss": "http://localhost:1/realms/mcp"},
        {"exp": 1_700_000_000},
        {"header": {"typ": "logout+jwt"}},
    ],
    ids=str,
)
async def test_a_token_that_is_not_for_us_is_refused(site: Site, changes: dict[str, Any]) -> None:
    response = await ask(site.url, site.token(**changes))
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


async def test_a_token_that_another_key_signed_is_refused(site: Site) -> None:
    other = Keycloak(site.keycloak.url, realm="other")
    named = {"kid": str(site.keycloak.key.kid)}
    assert (await ask(site.url, other.token(aud=site.url))).status_code == 401
    assert (await ask(site.url, other.token(aud=site.url, header=named))).status_code == 401


async def test_the_realms_key_for_encryption_signs_nothing(site: Site) -> None:
    secret = site.keycloak.encryption_key.as_dict(private=True)
    key = RSAKey.import_key({name: value for name, value in secret.items() if name not in ("use", "alg")})
    named = {"kid": str(site.keycloak.encryption_key.kid)}
    assert (await ask(site.url, site.token(key=key, header=named))).status_code == 401


async def test_without_the_scope_it_is_403(site: Site) -> None:
    response = await ask(site.url, site.token(scope="profile email"))
    assert response.status_code == 403
    assert f'scope="{SCOPE}"' in response.headers["www-authenticate"]


async def test_while_the_keys_cannot_be_had_nobody_gets_in_and_nobody_is_blamed() -> None:
    with serving() as site:
        site.keycloak.down = True
        response = await ask(site.url, site.token())
    assert response.status_code == 503
    assert "www-authenticate" not in response.headers


async def test_the_agent_logs_in_at_keycloak_and_the_scope_brings_the_audience(
    site: Site, tmp_path: Path
) -> None:
    async with logged_in(site.url, tmp_path, Visit()) as client:
        result = await client.call_tool("basename", {"p": "/routes/ridge.gpx"})
    assert "ridge.gpx" in str(result.content)
    (asked,) = [line for line in site.keycloak.asked if line.startswith("auth")]
    assert SCOPE in asked.split()


async def test_without_the_mapper_the_login_works_and_the_token_is_worth_nothing(tmp_path: Path) -> None:
    with (
        serving(mapped=False) as site,
        pytest.raises(WorkshopError, match="refuses the token of the login that was just approved"),
    ):
        async with logged_in(site.url, tmp_path, Visit()):
            pass


class Elsewhere:
    """A server of somebody else, to which a tool may send a request."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/", self._answer)])

    async def _answer(self, request: Request) -> Response:
        self.seen.append(dict(request.headers))
        return JSONResponse({})


TOOLS = '''
import httpx2
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver import Context

async def look_up(url: str, context: Context) -> dict[str, str]:
    """Ask somebody else, with every header that came in."""
    headers = dict(context.headers or {})
    sent = {name: headers[name] for name in headers if name not in ("host", "content-length")}
    async with httpx2.AsyncClient(trust_env=False) as http:
        await http.get(url, headers=sent)
    return sent

def who() -> dict[str, str]:
    """Who calls, and the token."""
    access = get_access_token()
    return {"subject": access.subject, "client": access.client_id, "token": access.token}
'''


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_tool_knows_its_caller_and_has_no_token_to_send_on(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tools_that_ask.py").write_text(TOOLS)
    monkeypatch.syspath_prepend(tmp_path)
    elsewhere, port = Elsewhere(), free_port()
    with (
        serving("tools_that_ask:look_up", "tools_that_ask:who") as site,
        in_thread(elsewhere.app(), port) as url,
    ):
        token = site.token(sub="user-7", azp="client-7")
        headers = {"Authorization": f"Bearer {token}", "X-Mine": "kept"}
        async with (
            httpx2.AsyncClient(headers=headers, trust_env=False) as http,
            Client(streamable_http_client(site.url, http_client=http), mode=mode) as client,
        ):
            await client.call_tool("look_up", {"url": url})
            who = (await client.call_tool("who", {})).structured_content
    (seen,) = elsewhere.seen
    assert seen["x-mine"] == "kept"
    assert token not in str(seen)
    assert "authorization" not in seen
    assert who == {"subject": "user-7", "client": "client-7", "token": ""}
