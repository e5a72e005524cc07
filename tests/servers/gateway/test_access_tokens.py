"""What is in an access token, and for whom."""

from tests.servers.gateway.harness import ISSUER, RESOURCE, Site
from tests.servers.gateway.reading import decoded


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
