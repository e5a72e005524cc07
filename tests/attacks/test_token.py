"""Attacks on the token endpoint (checklist T42 to T63)."""

import asyncio
from collections import Counter

import pytest

from tests.servers.gateway.harness import CALLBACK, ISSUER, VERIFIER, Site


async def works(gateway: Site, bearer: dict[str, str]) -> bool:
    return (await gateway.call(bearer)).status_code == 200


async def test_t42_a_code_used_twice_revokes_what_it_issued(gateway: Site) -> None:
    client_id = await gateway.register()
    code = (await gateway.code(client_id))["code"]
    first = (await gateway.redeem(client_id, code)).json()
    bearer = {"Authorization": f"Bearer {first['access_token']}"}
    assert await works(gateway, bearer)
    second = await gateway.redeem(client_id, code)
    assert (second.status_code, second.json()["error"]) == (400, "invalid_grant")
    assert not await works(gateway, bearer)
    assert (await gateway.refresh(client_id, first["refresh_token"])).json()["error"] == "invalid_grant"


async def test_t43_twenty_parallel_redemptions_of_one_code_give_exactly_one_token_set(gateway: Site) -> None:
    client_id = await gateway.register()
    code = (await gateway.code(client_id))["code"]
    answers = await asyncio.gather(*(gateway.redeem(client_id, code) for _ in range(20)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 400: 19}


@pytest.mark.parametrize("redirect_uri", [None, "", "http://localhost:8766/callback", f"{CALLBACK}/"])
async def test_t45_the_redirect_uri_must_be_the_one_of_the_request(
    gateway: Site, redirect_uri: str | None
) -> None:
    client_id = await gateway.register()
    code = (await gateway.code(client_id))["code"]
    answer = await gateway.redeem(client_id, code, redirect_uri=redirect_uri)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


async def test_t45_a_redirect_uri_left_out_at_the_start_is_left_out_here(gateway: Site) -> None:
    client_id = await gateway.register()
    code = (await gateway.code(client_id, redirect_uri=None))["code"]
    assert (await gateway.redeem(client_id, code, redirect_uri=None)).status_code == 200


@pytest.mark.parametrize(
    "verifier",
    [
        None,
        "",
        "x" * 43,
        VERIFIER[:42],
        "x" * 129,
        VERIFIER + "!",
        VERIFIER + " ",
        VERIFIER.upper(),
        "é" * 43,
    ],
)
async def test_t46_a_wrong_verifier_gets_nothing_and_the_code_is_spent(
    gateway: Site, verifier: str | None
) -> None:
    client_id = await gateway.register()
    code = (await gateway.code(client_id))["code"]
    answer = await gateway.redeem(client_id, code, code_verifier=verifier)
    assert answer.status_code == 400
    assert answer.json()["error"] in {"invalid_grant", "invalid_request"}
    if verifier:
        assert (await gateway.redeem(client_id, code)).status_code == 400


async def test_t46_the_challenge_itself_is_no_verifier(gateway: Site) -> None:
    client_id = await gateway.register()
    code = (await gateway.code(client_id))["code"]
    challenge = gateway.authorize_parameters(client_id)["code_challenge"]
    assert (await gateway.redeem(client_id, code, code_verifier=challenge)).json()["error"] == "invalid_grant"


async def test_t47_a_code_of_another_client_is_refused(gateway: Site) -> None:
    client_id, other = await gateway.register(), await gateway.register()
    code = (await gateway.code(client_id))["code"]
    assert (await gateway.redeem(other, code)).json()["error"] == "invalid_grant"


async def test_t48_an_expired_code_is_refused(gateway: Site) -> None:
    client_id = await gateway.register()
    code = (await gateway.code(client_id))["code"]
    gateway.clock.now += 601
    assert (await gateway.redeem(client_id, code)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("code", ["unknown", "' OR 1=1 --", "x" * 5000])
async def test_t49_an_unknown_code_is_refused(gateway: Site, code: str) -> None:
    assert (await gateway.redeem(await gateway.register(), code)).json()["error"] == "invalid_grant"


GRANTS = {
    "password": "unsupported_grant_type",
    "client_credentials": "unsupported_grant_type",
    "implicit": "unsupported_grant_type",
    "urn:ietf:params:oauth:grant-type:token-exchange": "unsupported_grant_type",
    "": "invalid_request",
}


@pytest.mark.parametrize(("grant_type", "error"), GRANTS.items())
async def test_t50_other_grant_types_are_refused(gateway: Site, grant_type: str, error: str) -> None:
    answer = await gateway.redeem(await gateway.register(), "code", grant_type=grant_type)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


@pytest.mark.parametrize("name", ["grant_type", "code", "client_id", "code_verifier", "redirect_uri"])
async def test_t50_a_repeated_parameter_is_refused(gateway: Site, name: str) -> None:
    client_id = await gateway.register()
    fields = {
        "grant_type": "authorization_code",
        "client_id": client_id,
        "code": (await gateway.code(client_id))["code"],
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }
    answer = await gateway.http.post("/oauth/token", data={**fields, name: [fields[name], fields[name]]})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""])
async def test_t51_another_media_type_is_refused(gateway: Site, kind: str) -> None:
    body = b"grant_type=authorization_code&client_id=x"
    answer = await gateway.http.post("/oauth/token", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_t51_an_endless_body_is_refused(gateway: Site) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await gateway.http.post("/oauth/token", content=b"a=" + b"b" * 70_000, headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize("body", [b"\xff", b"a=%ff", b"&".join(b"a%d=1" % n for n in range(100))])
async def test_t51_a_form_nobody_can_read_is_refused(gateway: Site, body: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await gateway.http.post("/oauth/token", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_t52_parameters_in_the_url_are_refused(gateway: Site) -> None:
    client_id = await gateway.register()
    fields = {
        "grant_type": "authorization_code",
        "client_id": client_id,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }
    code = (await gateway.code(client_id))["code"]
    answer = await gateway.http.post("/oauth/token", params={"code": code}, data=fields)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_t54_two_ways_of_client_authentication_are_refused(gateway: Site) -> None:
    fields = {"grant_type": "authorization_code", "client_id": "x", "client_secret": "y", "code": "z"}
    answer = await gateway.http.post("/oauth/token", data=fields, auth=("x", "y"))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_t55_a_public_client_with_a_secret_is_refused(gateway: Site) -> None:
    client_id = await gateway.register()
    answer = await gateway.redeem(client_id, "code", client_secret="anything")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    fields = {"grant_type": "authorization_code", "code": "x"}
    answer = await gateway.http.post("/oauth/token", data=fields, auth=(client_id, ""))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic ")


async def test_t55_an_unknown_client_is_refused(gateway: Site) -> None:
    answer = await gateway.redeem("unknown", "code")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


RESOURCES = ["https://other.test/", "http://localhost:8080", "http://localhost:8080/mcp/", " "]


@pytest.mark.parametrize("resource", RESOURCES)
async def test_t56_another_resource_is_refused_and_the_code_still_good(gateway: Site, resource: str) -> None:
    client_id = await gateway.register()
    code = (await gateway.code(client_id))["code"]
    answer = await gateway.redeem(client_id, code, resource=resource)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")
    assert (await gateway.redeem(client_id, code)).status_code == 200


async def test_t57_a_refresh_cannot_widen_the_scope(gateway: Site) -> None:
    signed_in = await gateway.sign_in(scope="openid offline_access")
    answer = await gateway.refresh(signed_in.client_id, signed_in.refresh_token, scope="openid email")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    narrower = await gateway.refresh(signed_in.client_id, signed_in.refresh_token, scope="openid")
    assert narrower.json()["scope"] == "openid"


async def test_t58_an_old_refresh_token_after_its_successor_was_used_kills_the_family(gateway: Site) -> None:
    signed_in = await gateway.sign_in()
    second = (await gateway.refresh(signed_in.client_id, signed_in.refresh_token)).json()
    third = (await gateway.refresh(signed_in.client_id, second["refresh_token"])).json()
    stolen = await gateway.refresh(signed_in.client_id, signed_in.refresh_token)
    assert (stolen.status_code, stolen.json()["error"]) == (400, "invalid_grant")
    dead = await gateway.refresh(signed_in.client_id, third["refresh_token"])
    assert dead.json()["error"] == "invalid_grant"
    for token in (signed_in.access_token, second["access_token"], third["access_token"]):
        assert not await works(gateway, {"Authorization": f"Bearer {token}"})


async def test_t58_an_old_refresh_token_after_the_grace_period_kills_the_family(gateway: Site) -> None:
    signed_in = await gateway.sign_in()
    second = (await gateway.refresh(signed_in.client_id, signed_in.refresh_token)).json()
    gateway.clock.now += 21
    assert (await gateway.refresh(signed_in.client_id, signed_in.refresh_token)).status_code == 400
    assert (await gateway.refresh(signed_in.client_id, second["refresh_token"])).status_code == 400


async def test_a_refresh_repeated_at_once_gets_the_same_successor(gateway: Site) -> None:
    signed_in = await gateway.sign_in()
    answers = await asyncio.gather(
        *(gateway.refresh(signed_in.client_id, signed_in.refresh_token) for _ in range(10))
    )
    successors = {answer.json()["refresh_token"] for answer in answers}
    assert len(successors) == 1
    assert signed_in.refresh_token not in successors
    assert (await gateway.refresh(signed_in.client_id, successors.pop())).status_code == 200


async def test_t59_a_refresh_token_of_another_client_is_refused_and_unharmed(gateway: Site) -> None:
    signed_in = await gateway.sign_in()
    other = await gateway.register()
    answer = await gateway.refresh(other, signed_in.refresh_token)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert (await gateway.refresh(signed_in.client_id, signed_in.refresh_token)).status_code == 200


@pytest.mark.parametrize("resource", RESOURCES)
async def test_t60_a_refresh_for_another_resource_is_refused(gateway: Site, resource: str) -> None:
    signed_in = await gateway.sign_in()
    answer = await gateway.refresh(signed_in.client_id, signed_in.refresh_token, resource=resource)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")


async def test_t61_answers_are_json_that_no_cache_keeps_and_no_page_reads(gateway: Site) -> None:
    client_id = await gateway.register()
    good = await gateway.redeem(client_id, (await gateway.code(client_id))["code"])
    bad = await gateway.redeem(client_id, "unknown")
    for answer in (good, bad):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["pragma"] == "no-cache"
        assert answer.headers["content-type"] == "application/json"
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_t62_a_refresh_token_comes_only_with_offline_access(gateway: Site) -> None:
    without = await gateway.sign_in(scope="openid profile")
    assert "refresh_token" not in without.answer
    client_id = await gateway.register(grant_types=["authorization_code"])
    answer = await gateway.redeem(client_id, (await gateway.code(client_id))["code"])
    assert "refresh_token" not in answer.json()


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/register", "/oauth/revoke", "/oauth/consent"])
async def test_t63_get_is_refused_where_something_would_change(gateway: Site, path: str) -> None:
    answer = await gateway.http.get(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_a_refresh_token_expires(gateway: Site) -> None:
    signed_in = await gateway.sign_in()
    gateway.clock.now += 604801
    assert (await gateway.refresh(signed_in.client_id, signed_in.refresh_token)).status_code == 400


async def revoke(gateway: Site, **fields: str) -> int:
    return (await gateway.http.post("/oauth/revoke", data=fields)).status_code


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_t87_a_revoked_token_ends_the_whole_sign_in_at_once(gateway: Site, kind: str) -> None:
    signed_in = await gateway.sign_in()
    assert await works(gateway, signed_in.bearer)
    token = str(signed_in.answer[kind])
    assert await revoke(gateway, client_id=signed_in.client_id, token=token, token_type_hint=kind) == 200
    assert not await works(gateway, signed_in.bearer)
    assert (await gateway.refresh(signed_in.client_id, signed_in.refresh_token)).status_code == 400


async def test_a_token_of_another_client_is_not_revoked(gateway: Site) -> None:
    signed_in = await gateway.sign_in()
    other = await gateway.register()
    for token in (signed_in.access_token, signed_in.refresh_token, "unknown"):
        assert await revoke(gateway, client_id=other, token=token) == 200
    assert await works(gateway, signed_in.bearer)


async def test_revocation_needs_a_known_client_and_a_token(gateway: Site) -> None:
    assert await revoke(gateway, client_id="unknown", token="x") == 401
    assert await revoke(gateway, client_id=await gateway.register()) == 400


async def test_the_issuer_in_the_answer_is_the_one_in_the_metadata(gateway: Site) -> None:
    arrived = await gateway.code(await gateway.register())
    metadata = (await gateway.http.get("/.well-known/oauth-authorization-server")).json()
    assert arrived["iss"] == metadata["issuer"] == ISSUER
    assert metadata["authorization_response_iss_parameter_supported"] is True
