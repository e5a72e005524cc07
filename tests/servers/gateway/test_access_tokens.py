"""What is in an access token, and for whom."""

import dataclasses
from pathlib import Path

import pytest
from joserfc import jwt

from tests.servers.gateway.harness import ISSUER, RESOURCE, Clock, Site, configured, ec_pem, settings
from tests.servers.gateway.reading import decoded
from workshop.auth.access_tokens import AccessTokens
from workshop.auth.config import Auth
from workshop.auth.keys import load_signing_key
from workshop.auth.store import Grant


async def test_the_claims_are_toolhive_s(gateway: Site) -> None:
    signed_in = await gateway.sign_in("learner")
    _, claims = decoded(signed_in.access_token)
    names = "iss sub aud exp iat jti client_id tsid scp scope name email"
    assert set(claims) == set(names.split())
    assert claims["iss"] == ISSUER
    assert claims["aud"] == [RESOURCE]
    assert claims["exp"] - claims["iat"] == signed_in.answer["expires_in"] == 3600
    assert claims["client_id"] == signed_in.client_id
    assert claims["scp"] == ["openid", "profile", "email", "offline_access"]
    assert claims["scope"] == signed_in.answer["scope"] == " ".join(claims["scp"])


async def test_a_person_is_the_same_subject_each_time_and_another_one_is_another(gateway: Site) -> None:
    people = ("learner", "learner", "mentor")
    claims = [decoded((await gateway.sign_in(person)).access_token)[1] for person in people]
    assert claims[0]["sub"] == claims[1]["sub"] != claims[2]["sub"]
    assert len({claim["tsid"] for claim in claims}) == 3
    assert len({claim["jti"] for claim in claims}) == 3
    assert "learner" not in claims[0]["sub"]


async def test_name_and_email_are_given_to_clients_that_asked(gateway: Site) -> None:
    _, claims = decoded((await gateway.sign_in(scope="openid")).access_token)
    assert not {"name", "email"} & claims.keys()


async def test_a_refresh_keeps_the_sign_in(gateway: Site) -> None:
    signed_in = await gateway.sign_in()
    refreshed = (await gateway.refresh(signed_in.client_id, signed_in.refresh_token)).json()
    before, after = decoded(signed_in.access_token)[1], decoded(refreshed["access_token"])[1]
    assert (before["tsid"], before["sub"]) == (after["tsid"], after["sub"])
    assert before["jti"] != after["jti"]


GRANT = Grant("tsid", "client", "sub", ("openid",), RESOURCE, 2e9, None, None, None)


@pytest.fixture
def auth(tmp_path: Path) -> Auth:
    config = configured(tmp_path, settings(tmp_path)).auth
    assert config is not None
    return config


def test_a_token_that_we_have_just_signed_is_not_verified_again(
    auth: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = AccessTokens(auth, Clock())
    token = tokens.issue(GRANT, ("openid",))
    monkeypatch.setattr(jwt, "decode", None)
    known = tokens.verify(token)
    assert known is not None
    assert (known.tsid, known.sub, known.scopes) == ("tsid", "sub", ("openid",))


def test_a_token_that_we_have_just_signed_is_read_as_any_other(auth: Auth) -> None:
    clock = Clock()
    tokens = AccessTokens(auth, clock)
    token = tokens.issue(GRANT, ("openid",))
    assert tokens.verify(token) == AccessTokens(auth, clock).verify(token)
    head, body, signature = token.split(".")
    other = "B" if signature.startswith("A") else "A"
    assert tokens.verify(f"{head}.{body}.{other}{signature[1:]}") is None
    # The configuration may have changed since the sign-in: such a grant has no token that is accepted.
    elsewhere = dataclasses.replace(GRANT, resource="https://elsewhere.test/")
    assert tokens.verify(tokens.issue(elsewhere, ("openid",))) is None
    clock.now += auth.access_seconds
    assert tokens.verify(token) is None


def test_a_token_of_a_key_that_was_taken_away_is_refused(auth: Auth) -> None:
    clock = Clock()
    token = AccessTokens(auth, clock).issue(GRANT, ("openid",))
    rotated = dataclasses.replace(auth, signing_keys=(load_signing_key(ec_pem(), "key"),))
    assert AccessTokens(rotated, clock).verify(token) is None
