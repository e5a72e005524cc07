"""Attacks on the resource server: tokens and challenges (checklist T78 to T87, T120)."""

import base64
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.servers.gateway.harness import ISSUER, RESOURCE, SignedIn, Site, configured, settings, site
from tests.servers.gateway.reading import challenge_of, decoded
from workshop.auth.config import Auth
from workshop.auth.keys import SigningKey

PRM = f"{ISSUER}/.well-known/oauth-protected-resource"


def auth_of(gateway: Site) -> Auth:
    assert gateway.config.auth is not None
    return gateway.config.auth


def key_of(gateway: Site) -> SigningKey:
    return auth_of(gateway).signing_keys[0]


def signed(gateway: Site, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A token with our own key: only its content can be wrong."""
    return jwt.encode(header, claims, key_of(gateway).key, algorithms=["ES256"], default_type=None)


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: str = "") -> str:
    encoded = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)
    )
    return ".".join((*encoded, signature))


async def assert_invalid(gateway: Site, token: str) -> None:
    answer = await gateway.http.post("/mcp", headers=[(b"Authorization", b"Bearer " + token.encode())])
    assert answer.status_code == 401, answer.text
    challenge = challenge_of(answer)
    assert challenge["error"] == "invalid_token"
    assert challenge["resource_metadata"] == PRM


@pytest.fixture
async def signed_in(gateway: Site) -> SignedIn:
    return await gateway.sign_in()


async def test_t78_no_token_gets_a_challenge_without_an_error_code(gateway: Site) -> None:
    answer = await gateway.call()
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == (
        f'Bearer realm="{ISSUER}", resource_metadata="{PRM}", scope="openid profile email"'
    )


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/mcp", "/", "/mcp/", "/anything", "/%2e%2e/mcp"])
async def test_t78_every_path_and_method_of_the_relay_needs_a_token(
    gateway: Site, method: str, path: str
) -> None:
    assert (await gateway.http.request(method, path)).status_code == 401


async def test_t79_another_scheme_is_no_token(gateway: Site, signed_in: SignedIn) -> None:
    for header in ("Basic eDp5", f"DPoP {signed_in.access_token}", signed_in.access_token):
        answer = await gateway.call({"Authorization": header})
        assert answer.status_code == 401
        assert "error" not in challenge_of(answer)


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "bearer   "])
async def test_r4_a_bearer_header_without_a_token_is_malformed(gateway: Site, header: str) -> None:
    answer = await gateway.call({"Authorization": header})
    assert answer.status_code == 400
    assert challenge_of(answer)["error"] == "invalid_request"


async def test_r4_two_authorization_headers_are_malformed(gateway: Site, signed_in: SignedIn) -> None:
    headers = [("Authorization", f"Bearer {signed_in.access_token}"), ("Authorization", "Bearer x")]
    assert (await gateway.http.post("/mcp", headers=headers)).status_code == 400


async def test_r4_the_scheme_is_read_in_any_case(gateway: Site, signed_in: SignedIn) -> None:
    assert (await gateway.call({"Authorization": f"bEaReR {signed_in.access_token}"})).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "ES384"},
        {"typ": "JWT"},
        {"typ": "application/at+jwt"},
        {"typ": None},
        {"kid": "unknown"},
        {"kid": "../../../../dev/null"},
        {"kid": None},
        {"kid": ["x"]},
        {"kid": {"x": 1}},
        {"jku": "http://169.254.169.254/jwks"},
        {"x5u": "http://169.254.169.254/cert"},
        {"x5c": ["AAAA"]},
        {"jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}},
        {"crit": ["exp"]},
        {"b64": False},
        {"zip": "DEF"},
    ],
    ids=str,
)
async def test_t80_a_header_we_did_not_write_is_refused(
    gateway: Site, signed_in: SignedIn, change: dict[str, Any]
) -> None:
    header, claims = decoded(signed_in.access_token)
    changed = {name: value for name, value in {**header, **change}.items() if value is not None}
    body = signed_in.access_token.split(".")
    # The original signature, none, and one made over the changed header.
    await assert_invalid(gateway, unsigned(changed, claims, body[2]))
    await assert_invalid(gateway, unsigned(changed, claims, "AA"))
    if changed.get("alg") == "ES256" and "crit" not in changed and "b64" not in changed:
        raw = ".".join(unsigned(changed, claims).split(".")[:2])
        await assert_invalid(gateway, f"{raw}.{raw_signature(gateway, raw)}")


def raw_signature(gateway: Site, message: str) -> str:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    private = key_of(gateway).key.private_key
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    r, s = decode_dss_signature(private.sign(message.encode(), ec.ECDSA(hashes.SHA256())))
    return base64.urlsafe_b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).rstrip(b"=").decode()


async def test_t80_a_token_signed_with_the_public_key_as_a_shared_secret_is_refused(
    gateway: Site, signed_in: SignedIn
) -> None:
    _, claims = decoded(signed_in.access_token)
    (jwk,) = (await gateway.http.get("/.well-known/jwks.json")).json()["keys"]
    header = {"alg": "HS256", "typ": "at+jwt", "kid": jwk["kid"]}
    message = ".".join(unsigned(header, claims).split(".")[:2])
    for secret in (key_of(gateway).key.as_pem(private=False), json.dumps(jwk).encode()):
        mac = hmac.digest(secret, message.encode(), "sha256")
        await assert_invalid(gateway, f"{message}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")


async def test_t80_a_token_signed_with_another_key_under_our_kid_is_refused(
    gateway: Site, signed_in: SignedIn
) -> None:
    header, claims = decoded(signed_in.access_token)
    stranger = ECKey.generate_key("P-256")
    await assert_invalid(gateway, jwt.encode(header, claims, stranger, algorithms=["ES256"]))


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "....",
        "é.é.é",
        "a.b.c d",
        "[.[.[",
        "e30.e30.e30",
        "W10.W10.W10",
        "A" * 20000,
    ],
)
async def test_t80_what_is_no_token_is_refused(gateway: Site, token: str) -> None:
    await assert_invalid(gateway, token)


NOW = 1_800_000_000


@pytest.mark.parametrize(
    "change",
    [
        {"exp": NOW - 1},
        {"exp": NOW},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": True},
        {"exp": 9e99},
        {"exp": 10**400},
        {"exp": -1},
        {"iat": -(10**400)},
        {"iat": NOW + 3600},
        {"iat": None},
        {"iat": "0"},
        {"nbf": NOW + 3600},
        {"nbf": 0},
        {"iss": f"{ISSUER}/"},
        {"iss": ISSUER.upper()},
        {"iss": None},
        {"iss": [ISSUER]},
        {"aud": ISSUER},
        {"aud": RESOURCE},
        {"aud": ["https://other.test/"]},
        {"aud": [RESOURCE, "https://other.test/"]},
        {"aud": []},
        {"aud": None},
        {"tsid": "unknown"},
        {"tsid": None},
        {"tsid": 7},
        {"sub": "somebody-else"},
        {"sub": None},
        {"client_id": "another-client"},
        {"scp": "openid"},
        {"scp": None},
        {"jti": None},
    ],
    ids=str,
)
async def test_t81_to_t83_a_well_signed_token_with_a_wrong_claim_is_refused(
    gateway: Site, signed_in: SignedIn, change: dict[str, Any]
) -> None:
    gateway.clock.now = NOW + 100
    header, claims = decoded(signed_in.access_token)
    changed = {name: value for name, value in {**claims, "iat": NOW, **change}.items() if value is not None}
    await assert_invalid(gateway, signed(gateway, header, changed))


async def test_t81_a_token_dies_at_its_time_although_it_was_verified_before(
    gateway: Site, signed_in: SignedIn
) -> None:
    _, claims = decoded(signed_in.access_token)
    gateway.clock.now = claims["exp"] - 1
    assert (await gateway.call(signed_in.bearer)).status_code == 200
    gateway.clock.now = claims["exp"]
    await assert_invalid(gateway, signed_in.access_token)


async def test_t120_a_clock_moved_back_an_hour_prolongs_no_token(gateway: Site, signed_in: SignedIn) -> None:
    gateway.clock.now -= 20
    assert (await gateway.call(signed_in.bearer)).status_code == 200
    gateway.clock.now -= 3600
    await assert_invalid(gateway, signed_in.access_token)


async def test_t82_the_token_of_another_gateway_is_refused(
    gateway: Site, signed_in: SignedIn, tmp_path: Path, practice: str
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    async with site(configured(folder, settings(folder, upstream=practice))) as other:
        await assert_invalid(other, signed_in.access_token)


async def test_t84_what_is_not_an_access_token_of_ours_is_refused(gateway: Site, practice: str) -> None:
    client_id = await gateway.register()
    code = (await gateway.code(client_id))["code"]
    await assert_invalid(gateway, code)
    answer = (await gateway.redeem(client_id, code)).json()
    await assert_invalid(gateway, answer["refresh_token"])
    _, claims = decoded(answer["access_token"])
    await assert_invalid(gateway, claims["tsid"])
    upstream = stored_upstream_token(gateway, claims["tsid"])
    assert upstream.startswith("practice_")
    await assert_invalid(gateway, upstream)


def stored_upstream_token(gateway: Site, tsid: str) -> str:
    from workshop.auth.store_sqlite import SqliteStore
    from workshop.auth.vault import Vault
    from workshop.servers.gateway.app import sealed_for

    auth = auth_of(gateway)
    vault = Vault(*auth.secrets, bound_to=sealed_for(gateway.config.remote_url, auth))
    store = SqliteStore(gateway.config.store, vault)
    grant = store.grant(tsid)
    store.close()
    assert grant is not None
    assert grant.upstream is not None
    return grant.upstream.access_token


async def test_t85_a_token_in_the_url_or_the_body_is_no_token(gateway: Site, signed_in: SignedIn) -> None:
    token = signed_in.access_token
    assert (await gateway.http.post("/mcp", params={"access_token": token})).status_code == 401
    assert (await gateway.http.post("/mcp", data={"access_token": token})).status_code == 401
    both = await gateway.http.post("/mcp", params={"access_token": token}, headers=signed_in.bearer)
    assert both.status_code == 400
    cookie = {"Cookie": f"access_token={token}"}
    assert (await gateway.http.post("/mcp", headers=cookie)).status_code == 401


async def test_t86_a_missing_scope_is_named(tmp_path: Path, practice: str) -> None:
    values = settings(tmp_path, upstream=practice)
    values["auth"]["required_scopes"] = ["email"]
    async with site(configured(tmp_path, values)) as gateway:
        narrow = await gateway.sign_in(scope="openid")
        answer = await gateway.call(narrow.bearer)
        assert answer.status_code == 403
        challenge = challenge_of(answer)
        assert (challenge["error"], challenge["scope"]) == ("insufficient_scope", "email")
        assert challenge["resource_metadata"] == PRM
        wide = await gateway.sign_in(scope="openid email")
        assert (await gateway.call(wide.bearer)).status_code == 200
