"""Discovery documents, as ToolHive serves them, byte for byte where clients compare bytes."""

from pathlib import Path

import pytest

from tests.servers.gateway.harness import ENDPOINT, ISSUER, RESOURCE, Site, configured, ec_pem, settings, site
from tests.servers.gateway.reading import decoded

AS_PATHS = [
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-authorization-server/mcp",
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/mcp",
]


@pytest.mark.parametrize(
    ("path", "resource"), [("", RESOURCE), ("/", RESOURCE), ("/mcp", ENDPOINT), ("/mcp/", ENDPOINT)]
)
async def test_r1_r2_the_protected_resource_is_described_at_the_root_and_at_the_path(
    gateway: Site, path: str, resource: str
) -> None:
    """At the path it has the URL of the path (RFC 9728 section 3.3), at the root ToolHive's audience."""
    answer = await gateway.http.get(f"/.well-known/oauth-protected-resource{path}")
    assert answer.json() == {
        "resource": resource,
        "authorization_servers": ["http://localhost:8080"],
        "bearer_methods_supported": ["header"],
        "scopes_supported": ["openid", "profile", "email"],
    }


@pytest.mark.parametrize("path", AS_PATHS)
async def test_a2_a3_the_authorization_server_is_described_where_clients_look(
    gateway: Site, path: str
) -> None:
    answer = await gateway.http.get(path)
    assert answer.headers["cache-control"] == "public, max-age=3600"
    document = answer.json()
    extra = {"subject_types_supported", "id_token_signing_alg_values_supported"}
    assert {name: value for name, value in document.items() if name not in extra} == {
        "issuer": "http://localhost:8080",
        "authorization_endpoint": f"{ISSUER}/oauth/authorize",
        "token_endpoint": f"{ISSUER}/oauth/token",
        "registration_endpoint": f"{ISSUER}/oauth/register",
        "revocation_endpoint": f"{ISSUER}/oauth/revoke",
        "jwks_uri": f"{ISSUER}/.well-known/jwks.json",
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": False,
    }
    assert (extra <= document.keys()) == ("openid" in path)


async def test_a6_every_endpoint_is_on_the_issuer_s_origin(gateway: Site) -> None:
    document = (await gateway.http.get(AS_PATHS[0])).json()
    addresses = [value for name, value in document.items() if name.endswith(("endpoint", "uri"))]
    assert len(addresses) == 5
    assert all(address.startswith(f"{ISSUER}/") for address in addresses)


async def test_r12_a13_offline_access_is_a_scope_of_the_server_and_not_of_the_resource(gateway: Site) -> None:
    resource = (await gateway.http.get("/.well-known/oauth-protected-resource")).json()
    server = (await gateway.http.get(AS_PATHS[0])).json()
    assert "offline_access" not in resource["scopes_supported"]
    assert "offline_access" not in (await gateway.call()).headers["www-authenticate"]
    assert "offline_access" in server["scopes_supported"]


async def test_the_key_set_has_public_parts_only_and_the_thumbprint_as_kid(gateway: Site) -> None:
    (jwk,) = (await gateway.http.get("/.well-known/jwks.json")).json()["keys"]
    assert gateway.config.auth is not None
    assert set(jwk) == {"kty", "crv", "x", "y", "use", "alg", "kid"}
    assert (jwk["alg"], jwk["use"]) == ("ES256", "sig")
    assert jwk["kid"] == gateway.config.auth.signing_keys[0].key.thumbprint()


async def test_after_a_key_rotation_old_tokens_still_work_and_new_ones_use_the_first_key(
    tmp_path: Path, practice: str
) -> None:
    values = settings(tmp_path, upstream=practice)
    async with site(configured(tmp_path, values)) as gateway:
        signed_in = await gateway.sign_in()
    (tmp_path / "new.pem").write_bytes(ec_pem())
    values["auth"]["signing_key_files"].insert(0, str(tmp_path / "new.pem"))
    async with site(configured(tmp_path, values)) as gateway:
        assert (await gateway.call(signed_in.bearer)).status_code == 200
        kids = [key["kid"] for key in (await gateway.http.get("/.well-known/jwks.json")).json()["keys"]]
        fresh = await gateway.sign_in()
        assert (await gateway.call(fresh.bearer)).status_code == 200
    assert len(set(kids)) == 2
    assert decoded(fresh.access_token)[0] == {"alg": "ES256", "typ": "at+jwt", "kid": kids[0]}
    assert decoded(signed_in.access_token)[0]["kid"] == kids[1]


@pytest.mark.parametrize("path", ["/.well-known/x", "/.well-known/", "/oauth/x", "/oauth/introspect"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_we_do_not_have_is_not_found(gateway: Site, path: str, method: str) -> None:
    answer = await gateway.http.request(method, path)
    assert (answer.status_code, answer.json()) == (404, {"error": "not_found"})


@pytest.mark.parametrize("path", [*AS_PATHS, "/health", "/.well-known/jwks.json"])
async def test_documents_are_read_only(gateway: Site, path: str) -> None:
    assert (await gateway.http.post(path)).status_code == 405
    assert (await gateway.http.head(path)).status_code == 200
