"""The provider as an authorization server: what it says of itself, its clients, its one resource."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.servers.gateway.documents import CLIENT, Library, document
from tests.servers.gateway.harness import CALLBACK
from tests.servers.gateway.reading import query_of
from tests.servers.identity.provider import ISSUER, RESOURCE, Provider, provider, settings
from workshop.core.errors import UsageError
from workshop.servers.identity.app import create_app


async def test_it_describes_itself_under_both_names(identity: Provider) -> None:
    oauth = (await identity.http.get("/.well-known/oauth-authorization-server")).json()
    openid = (await identity.http.get("/.well-known/openid-configuration")).json()
    assert oauth["issuer"] == openid["issuer"] == ISSUER
    assert oauth["code_challenge_methods_supported"] == ["S256"]
    assert oauth["authorization_response_iss_parameter_supported"] is True
    assert oauth["scopes_supported"] == ["openid", "profile", "email", "offline_access"]
    paths = {
        "authorize": "authorization",
        "token": "token",
        "register": "registration",
        "revoke": "revocation",
    }
    for path, name in paths.items():
        assert oauth[f"{name}_endpoint"] == f"{ISSUER}/oauth/{path}"
    [key] = (await identity.http.get("/.well-known/jwks.json")).json()["keys"]
    assert (key["kty"], key["alg"], "d" in key) == ("EC", "ES256", False)


async def test_it_is_not_the_protected_resource(identity: Provider) -> None:
    for path in ("/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"):
        assert (await identity.http.get(path)).status_code == 404
    assert (await identity.http.post("/mcp")).status_code == 404
    assert (await identity.http.get("/health")).json() == {"status": "ok"}


async def test_only_its_own_address_is_served(identity: Provider) -> None:
    path = "/.well-known/oauth-authorization-server"
    assert (await identity.http.get(path, headers={"host": "127.0.0.1:8122"})).status_code == 421
    assert (await identity.http.get(path, headers={"host": "rebound.example"})).status_code == 421
    assert (await identity.http.get("/health", headers={"host": "127.0.0.1:8122"})).status_code == 200
    for origin in ("https://other.example", "null", "http://localhost.evil"):
        assert (await identity.http.get(path, headers={"origin": origin})).status_code == 403


async def test_a_page_on_this_computer_may_read_what_a_client_needs(identity: Provider) -> None:
    page = {"origin": "http://localhost:6274"}
    for path in ("/.well-known/oauth-authorization-server", "/.well-known/jwks.json"):
        answer = await identity.http.get(path, headers=page)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, page["origin"])
    for path in ("/oauth/register", "/oauth/token"):
        preflight = await identity.http.options(
            path, headers={**page, "access-control-request-method": "POST"}
        )
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (
            200,
            page["origin"],
        )
    for path in ("/login", "/oauth/authorize", "/oauth/consent", "/oauth/revoke"):
        assert (await identity.http.get(path, headers=page)).status_code == 403


async def test_tokens_are_for_the_one_resource(identity: Provider) -> None:
    client_id = await identity.register()
    for resource in ("http://localhost:9999/mcp", f"{RESOURCE}/", ISSUER):
        answer = await identity.authorize(client_id, resource=resource)
        assert query_of(answer)["error"] == "invalid_target"
        code = (await identity.code(client_id))["code"]
        answer = await identity.redeem(client_id, code, resource=resource)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")
    code = (await identity.code(client_id, resource=None))["code"]
    assert (await identity.redeem(client_id, code)).status_code == 200


async def test_the_answer_names_its_issuer(identity: Provider) -> None:
    arrived = await identity.code(await identity.register())
    assert (arrived["iss"], arrived["state"]) == (ISSUER, "the-client-state")


async def test_signing_out_ends_the_refresh_tokens(identity: Provider) -> None:
    signed_in = await identity.sign_in()
    fields = {"client_id": signed_in["client_id"], "token": signed_in["access_token"]}
    assert (await identity.http.post("/oauth/revoke", data=fields)).status_code == 200
    answer = await identity.token(
        signed_in["client_id"], grant_type="refresh_token", refresh_token=signed_in["refresh_token"]
    )
    assert answer.json()["error"] == "invalid_grant"


AGENT = {"client_id": "workshop-agent", "redirect_uris": [CALLBACK], "name": "The workshop's agent"}


async def test_a_client_of_the_configuration_needs_no_registration(tmp_path: Path) -> None:
    async with provider(settings(tmp_path, clients=[AGENT])) as identity:
        page = await identity.authorize("workshop-agent")
        assert "The workshop&#39;s agent" in page.text
        code = (await identity.code("workshop-agent"))["code"]
        assert (await identity.redeem("workshop-agent", code)).status_code == 200
        elsewhere = await identity.authorize("workshop-agent", redirect_uri="http://localhost:1/other")
        assert elsewhere.status_code == 400
        assert "location" not in elsewhere.headers
    async with provider(settings(tmp_path)) as without:
        assert (await without.authorize("workshop-agent")).status_code == 400


async def test_scopes_are_those_of_the_configuration(tmp_path: Path) -> None:
    async with provider(settings(tmp_path, scopes=["notes:read", "notes:write"])) as identity:
        signed_in = await identity.sign_in(scope="notes:read")
        assert signed_in["scope"] == "notes:read"
        assert "refresh_token" not in signed_in
        answer = await identity.authorize(await identity.register(), scope="openid")
        assert query_of(answer)["error"] == "invalid_scope"


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"resource": "http://elsewhere.example/mcp"}, "resource"),
        ({"resource": "/mcp"}, "resource"),
        ({"resource": None}, "resource"),
        ({"signing_key_file": "/nowhere.pem"}, "signing_key_file"),
        ({"hmac_file": "/dev/null"}, "hmac_file"),
        ({"scopes": ["a b"]}, "scopes"),
        ({"audience": RESOURCE}, "audience"),
        ({"clients": {}}, "clients"),
        ({"clients": [AGENT, AGENT]}, "clients"),
        ({"clients": [{**AGENT, "redirect_uris": []}]}, "clients.0.redirect_uris"),
        ({"clients": [{**AGENT, "redirect_uris": ["http://elsewhere.example/"]}]}, "clients.0.redirect_uris"),
        ({"clients": [{**AGENT, "secret": "none"}]}, "clients.0.secret"),
        ({"clients": ["agent"]}, "clients.0"),
        ({"access_token_seconds": 1}, "access_token_seconds"),
    ],
    ids=str,
)
def test_a_wrong_configuration_is_reported_with_its_place(
    changes: dict[str, Any], where: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"at `{where}`"):
        create_app(settings(tmp_path, **changes))


async def test_documents_about_clients_are_read_where_the_configuration_asks_for_it(tmp_path: Path) -> None:
    library = Library({CLIENT: json.dumps(document()).encode()})
    for cimd, status in ((None, 400), ({"enabled": True}, 200)):
        async with provider(settings(tmp_path, cimd=cimd), fetch=library) as identity:
            metadata = (await identity.http.get("/.well-known/oauth-authorization-server")).json()
            assert metadata["client_id_metadata_document_supported"] is (cimd is not None)
            assert (await identity.authorize(CLIENT)).status_code == status
    assert library.fetched == [CLIENT]
