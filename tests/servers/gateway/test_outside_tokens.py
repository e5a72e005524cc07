"""Tokens of an outside issuer: what is taken, what is not, and how its keys are had."""

import asyncio
import base64
import hashlib
import hmac
import json
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from joserfc.jwk import ECKey, OctKey, RSAKey

from tests.servers.gateway.harness import upstream_of
from tests.servers.gateway.outside import AUDIENCE, ISSUER, Issuer
from workshop.auth.outside_tokens import KeysUnavailableError, OutsideIssuer, OutsideTokens
from workshop.core.errors import UsageError
from workshop.core.ports import free_port


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def address(issuer: Issuer) -> AsyncIterator[str]:
    async with upstream_of(web.get("/jwks", issuer.serve)) as url:
        yield f"{url}/jwks"


def by_key(issuer: Issuer, **changes: Any) -> OutsideTokens:
    outside = OutsideIssuer(ISSUER, AUDIENCE, public_key=issuer.public_pem(), **changes)
    return OutsideTokens(outside, issuer.clock)


def by_address(issuer: Issuer, address: str) -> OutsideTokens:
    return OutsideTokens(OutsideIssuer(ISSUER, AUDIENCE, jwks_uri=address), issuer.clock)


def encoded(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def test_a_caller_is_who_the_token_speaks_for(issuer: Issuer) -> None:
    caller = await by_key(issuer).verify(issuer.token(team="hikers"))
    assert caller is not None
    assert (caller.subject, caller.client_id, caller.name) == ("user-1", "agent", "Lea Lerner")
    assert caller.scopes == ("openid", "profile")
    assert caller.expires == issuer.clock() + 300
    assert caller.claims["team"] == "hikers"
    assert "hikers" not in repr(caller)


async def test_the_words_of_other_issuers_are_understood(issuer: Issuer) -> None:
    token = issuer.token(
        header={"typ": "JWT"},
        client_id=None,
        azp="keycloak-client",
        typ="Bearer",
        scope=None,
        scp=["read", "write"],
        name=None,
        preferred_username="learner",
        aud=AUDIENCE,
        iat=None,
    )
    caller = await by_key(issuer).verify(token)
    assert caller is not None
    assert (caller.client_id, caller.scopes, caller.name) == ("keycloak-client", ("read", "write"), "learner")


@pytest.mark.parametrize("aud", [AUDIENCE, [AUDIENCE], ["account", AUDIENCE]])
async def test_the_audience_may_be_a_text_or_a_list_with_ours(issuer: Issuer, aud: object) -> None:
    allowing = by_key(issuer, other_audiences=("account",))
    assert await allowing.verify(issuer.token(aud=aud)) is not None


@pytest.mark.parametrize("aud", [["account", AUDIENCE], [AUDIENCE, "account"], [AUDIENCE, AUDIENCE, "x"]])
async def test_another_audience_beside_ours_is_refused_unless_it_is_configured(
    issuer: Issuer, aud: object
) -> None:
    assert await by_key(issuer).verify(issuer.token(aud=aud)) is None
    assert await by_key(issuer, other_audiences=("other",)).verify(issuer.token(aud=aud)) is None
    assert await by_key(issuer, other_audiences=("account",)).verify(issuer.token(aud="account")) is None


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": f"{ISSUER}/"},
        {"iss": None},
        {"aud": f"{AUDIENCE}/"},
        {"aud": ["account"]},
        {"aud": []},
        {"aud": {AUDIENCE: True}},
        {"aud": None},
        {"exp": None},
        {"exp": "4102444800"},
        {"exp": True},
        {"exp": 10**400},
        {"nbf": "0"},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"scope": {"read": 1}},
        {"scope": ["read", 7]},
        {"cnf": {"jkt": "thumbprint"}},
        {"typ": "ID"},
        {"typ": "Refresh"},
        {"typ": 7},
    ],
    ids=str,
)
async def test_a_claim_that_is_missing_or_wrong_is_a_refusal(issuer: Issuer, claims: dict[str, Any]) -> None:
    assert await by_key(issuer).verify(issuer.token(**claims)) is None


async def test_a_token_has_its_time(issuer: Issuer) -> None:
    tokens, now = by_key(issuer), int(issuer.clock())
    token, later = issuer.token(exp=now + 60), issuer.token(nbf=now + 120)
    assert await tokens.verify(token) is not None
    assert await tokens.verify(later) is None
    assert await tokens.verify(issuer.token(nbf=now + 20)) is not None, "clocks differ a little"
    assert await tokens.verify(issuer.token(iat=now + 120)) is None, "made in the future"
    issuer.clock.now += 60
    assert await tokens.verify(token) is None
    issuer.clock.now += 60
    assert await tokens.verify(later) is not None


@pytest.mark.parametrize(
    "header",
    [{"typ": "logout+jwt"}, {"typ": "dpop+jwt"}, {"typ": 7}, {"crit": ["exp"]}, {"kid": 7}],
    ids=str,
)
async def test_a_header_made_for_something_else_is_a_refusal(issuer: Issuer, header: dict[str, Any]) -> None:
    _, claims, signature = issuer.token().split(".")
    named = {"alg": "ES256", "typ": "at+jwt", "kid": "first", **header}
    assert await by_key(issuer).verify(f"{encoded(named)}.{claims}.{signature}") is None


async def test_a_token_of_another_key_is_refused(issuer: Issuer) -> None:
    stranger = Issuer(clock=issuer.clock)
    assert await by_key(issuer).verify(stranger.token()) is None
    assert await by_key(issuer).verify(issuer.token()[:-8] + "AAAAAAAA") is None


async def test_a_key_in_the_header_is_not_believed(issuer: Issuer, address: str) -> None:
    stranger = Issuer(clock=issuer.clock)
    header = {"jwk": stranger.key.as_dict(private=False), "jku": "https://stranger.example/jwks"}
    named = {"alg": "ES256", "typ": "at+jwt", "kid": "first", **header}
    signed = f"{encoded(named)}.{encoded(issuer.claims())}"
    for tokens in (by_key(issuer), by_address(issuer, address)):
        assert await tokens.verify(f"{signed}.{'A' * 86}") is None


async def test_alg_none_is_refused(issuer: Issuer) -> None:
    unsigned = f"{encoded({'alg': 'none', 'typ': 'at+jwt'})}.{encoded(issuer.claims())}."
    assert await by_key(issuer).verify(unsigned) is None
    assert await by_key(issuer).verify(unsigned + "AAAA") is None


@pytest.mark.parametrize("kind", ["EC", "RSA"])
async def test_a_public_key_is_no_hmac_secret(kind: str, issuer: Issuer) -> None:
    if kind == "RSA":
        issuer.key, issuer.algorithm = RSAKey.generate_key(2048), "RS256"
    signed = f"{encoded({'alg': 'HS256', 'typ': 'at+jwt', 'kid': 'first'})}.{encoded(issuer.claims())}"
    mac = hmac.digest(issuer.public_pem().encode(), signed.encode(), hashlib.sha256)
    token = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    assert await by_key(issuer).verify(token) is None


async def test_rsa_keys_work_by_pem_and_by_address(issuer: Issuer, address: str) -> None:
    issuer.key, issuer.algorithm = RSAKey.generate_key(2048), "RS256"
    for tokens in (by_key(issuer), by_address(issuer, address)):
        assert await tokens.verify(issuer.token()) is not None
        assert await tokens.verify(issuer.token(aud="other")) is None


async def test_an_algorithm_the_issuer_does_not_name_for_its_key_is_refused(
    issuer: Issuer, address: str
) -> None:
    issuer.key, issuer.algorithm = RSAKey.generate_key(2048), "RS256"
    assert await by_address(issuer, address).verify(issuer.token(header={"alg": "PS512"})) is None
    assert await by_key(issuer).verify(issuer.token(header={"alg": "PS512"})) is not None


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "a.b.c.d", "é.é.é", "A" * 9000, "e30.e30.e30"])
async def test_what_is_no_token_is_refused_without_asking_for_keys(token: str, issuer: Issuer) -> None:
    nowhere = by_address(issuer, f"http://127.0.0.1:{free_port()}/jwks")
    assert await nowhere.verify(token) is None


# keys


async def test_keys_are_fetched_when_needed_and_kept(issuer: Issuer, address: str) -> None:
    tokens = by_address(issuer, address)
    assert issuer.asked == 0
    callers = await asyncio.gather(*(tokens.verify(issuer.token()) for _ in range(20)))
    assert all(callers)
    assert issuer.asked == 1
    issuer.clock.now += 299
    assert await tokens.verify(issuer.token()) is not None
    assert issuer.asked == 1
    issuer.clock.now += 1
    assert await tokens.verify(issuer.token()) is not None
    assert issuer.asked == 2


async def test_a_key_that_was_withdrawn_is_gone_after_five_minutes(issuer: Issuer, address: str) -> None:
    tokens = by_address(issuer, address)
    old = issuer.token(exp=int(issuer.clock()) + 3600)
    assert await tokens.verify(old) is not None
    issuer.rotate("second")
    issuer.clock.now += 300
    assert await tokens.verify(old) is None


async def test_an_unknown_kid_is_looked_up_but_not_for_ever(issuer: Issuer, address: str) -> None:
    tokens = by_address(issuer, address)
    assert await tokens.verify(issuer.token()) is not None
    issuer.rotate("second")
    assert await tokens.verify(issuer.token()) is not None, "a new key is found at once"
    assert issuer.asked == 2
    stranger = Issuer(clock=issuer.clock)
    for number in range(20):
        assert await tokens.verify(stranger.token(header={"kid": f"forged-{number}"})) is None
    assert issuer.asked == 3, "the burst is over"
    assert await tokens.verify(issuer.token()) is not None
    issuer.clock.now += 5
    assert await tokens.verify(stranger.token(header={"kid": "forged"})) is None
    assert issuer.asked == 4


async def test_without_a_kid_one_key_must_be_meant(issuer: Issuer, address: str) -> None:
    token = issuer.token(header={"kid": None})
    assert await by_address(issuer, address).verify(token) is not None
    both = [*issuer.jwks()["keys"], *Issuer(kid="other").jwks()["keys"]]
    issuer.body = json.dumps({"keys": both}).encode()
    assert await by_address(issuer, address).verify(token) is None


@pytest.mark.parametrize(
    "change", [{"use": "enc"}, {"key_ops": ["sign"]}, {"alg": "HS256"}, {"x": "AAAA"}, {"kid": 7}], ids=str
)
async def test_a_key_for_something_else_is_not_used(
    change: dict[str, Any], issuer: Issuer, address: str
) -> None:
    [_, good] = issuer.jwks()["keys"]
    issuer.body = json.dumps({"keys": [{**good, **change}, "no key"]}).encode()
    assert await by_address(issuer, address).verify(issuer.token()) is None


async def test_a_small_key_or_a_secret_is_not_used(issuer: Issuer, address: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        issuer.key, issuer.algorithm = RSAKey.generate_key(1024), "RS256"
    assert await by_address(issuer, address).verify(issuer.token()) is None
    secret = OctKey.import_key("a shared secret that is long enough")
    issuer.key, issuer.algorithm = secret, "HS256"
    issuer.body = json.dumps({"keys": [{**secret.as_dict(), "kid": "first"}]}).encode()
    assert await by_address(issuer, address).verify(issuer.token()) is None


async def test_an_issuer_that_cannot_be_reached_is_not_the_client_s_fault(issuer: Issuer) -> None:
    tokens = by_address(issuer, f"http://127.0.0.1:{free_port()}/jwks")
    for _ in range(5):
        with pytest.raises(KeysUnavailableError):
            await tokens.verify(issuer.token())


async def test_an_outage_is_bridged_for_an_hour(issuer: Issuer, address: str) -> None:
    tokens = by_address(issuer, address)
    assert await tokens.verify(issuer.token()) is not None
    issuer.status = 500
    issuer.clock.now += 3599
    assert await tokens.verify(issuer.token()) is not None
    issuer.clock.now += 1
    with pytest.raises(KeysUnavailableError):
        await tokens.verify(issuer.token())
    issuer.status = 200
    issuer.clock.now += 5
    assert await tokens.verify(issuer.token()) is not None


@pytest.mark.parametrize(
    "body",
    [
        b'{"keys": [], "padding": "' + b"x" * 70_000 + b'"}',
        b"not JSON",
        b"[]",
        b"[" * 60_000,
        b'{"keys": {}}',
    ],
    ids=["oversized", "no JSON", "no object", "too deep", "no list"],
)
async def test_what_is_no_jwk_set_gives_no_keys(body: bytes, issuer: Issuer, address: str) -> None:
    issuer.body = body
    with pytest.raises(KeysUnavailableError):
        await by_address(issuer, address).verify(issuer.token())


async def test_a_redirect_is_not_followed(issuer: Issuer) -> None:
    async def elsewhere(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"location": "/jwks"})

    async with upstream_of(web.get("/old", elsewhere), web.get("/jwks", issuer.serve)) as url:
        with pytest.raises(KeysUnavailableError):
            await by_address(issuer, f"{url}/old").verify(issuer.token())
    assert issuer.asked == 0


# configuration


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"audience": ""}, "audience"),
        ({"issuer": ""}, "issuer"),
        ({"jwks_uri": None}, "Exactly one"),
        ({"public_key": "-----BEGIN"}, "Exactly one"),
        ({"jwks_uri": "http://issuer.example/jwks"}, "https"),
        ({"jwks_uri": "file:///etc/passwd"}, "https"),
        ({"required_scopes": ('a"b',)}, "scope"),
    ],
)
def test_a_configuration_that_would_protect_nothing_is_refused(changes: dict[str, Any], why: str) -> None:
    values = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_uri": "https://issuer.example/jwks", **changes}
    with pytest.raises(UsageError) as caught:
        OutsideIssuer(**values)
    assert why in caught.value.why


def test_the_authorization_server_is_the_issuer_unless_said_otherwise() -> None:
    one = OutsideIssuer(ISSUER, AUDIENCE, jwks_uri=f"{ISSUER}/jwks")
    assert one.authorization_servers == (ISSUER,)
    other = OutsideIssuer(
        ISSUER, AUDIENCE, jwks_uri=f"{ISSUER}/jwks", authorization_servers=("https://as.example",)
    )
    assert other.authorization_servers == ("https://as.example",)


def test_a_public_key_is_an_rsa_or_ec_key_in_pem_form() -> None:
    private = ECKey.generate_key("P-256").as_pem(private=True).decode()
    for text in ("", "no key", private, ECKey.generate_key("secp256k1").as_pem(private=False).decode()):
        with pytest.raises(UsageError, match="public key cannot be used"):
            OutsideTokens(OutsideIssuer(ISSUER, AUDIENCE, public_key=text))
