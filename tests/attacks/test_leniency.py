"""Where the RFCs are lenient, the server is too; each test also tries what lies just beyond."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.servers.gateway.harness import CALLBACK, ENDPOINT, RESOURCE, Site
from tests.servers.gateway.reading import decoded, query_of

_MEMBERS = ("client_name", "scope", "grant_types", "response_types", "token_endpoint_auth_method")
_MORE = ("application_type", "software_id", "client_uri", "contacts", "jwks")


@pytest.mark.parametrize("empty", [None, "", []])
async def test_a_member_without_a_value_is_absent(gateway: Site, empty: object) -> None:
    """RFC 7592 section 2.2 for `null`; an empty value has no meaning in RFC 7591 section 2."""
    gateway.clock.now += 1
    document = {"redirect_uris": [CALLBACK], **dict.fromkeys((*_MEMBERS, *_MORE), empty)}
    answer = await gateway.http.post("/oauth/register", json=document)
    assert answer.status_code == 201, answer.text
    plain = (await gateway.register_response(client_name=None)).json()
    differing = {"client_id", "client_id_issued_at"}
    assert {name: value for name, value in answer.json().items() if name not in differing} == {
        name: value for name, value in plain.items() if name not in differing
    }


@pytest.mark.parametrize(
    "member",
    [
        *({"grant_types": {}}, {"grant_types": [None]}, {"grant_types": [""]}, {"response_types": [None]}),
        *({"scope": {}}, {"scope": 0}, {"scope": False}, {"token_endpoint_auth_method": 0}),
        *({"client_name": 0}, {"application_type": False}, {"response_types": {}}),
    ],
)
async def test_a_member_with_a_wrong_value_is_not_absent(gateway: Site, member: dict[str, Any]) -> None:
    answer = await gateway.register_response(**member)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


@pytest.mark.parametrize("uris", [None, [], ""])
async def test_without_redirect_uris_nobody_is_registered(gateway: Site, uris: object) -> None:
    gateway.clock.now += 1
    answer = await gateway.http.post("/oauth/register", json={"redirect_uris": uris})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_redirect_uri")


@pytest.mark.parametrize("scope", ["openid  email", " openid email", "openid email  ", "openid openid email"])
async def test_spaces_in_a_scope_collapse(gateway: Site, scope: str) -> None:
    """RFC 6749 section 3.3 has one space; two were seen."""
    registered = await gateway.register_response(scope=scope, grant_types=["authorization_code"])
    assert registered.json()["scope"] == "openid email"
    client_id = str(registered.json()["client_id"])
    answer = await gateway.redeem(client_id, (await gateway.code(client_id, scope=scope))["code"])
    assert answer.json()["scope"] == "openid email"


@pytest.mark.parametrize("scope", ["openid\temail", "openid\nemail", "openid,email", "openid\u00a0email"])
async def test_only_spaces_part_scopes(gateway: Site, scope: str) -> None:
    assert (await gateway.register_response(scope=scope)).json()["error"] == "invalid_client_metadata"
    refused = await gateway.authorize(await gateway.register(), scope=scope)
    assert query_of(refused)["error"] == "invalid_scope"


async def test_a_scope_of_spaces_is_omitted(gateway: Site) -> None:
    registered = await gateway.register_response(scope="  ")
    assert registered.json()["scope"] == "openid profile email offline_access"
    page = await gateway.authorize(str(registered.json()["client_id"]), scope=" ")
    assert page.status_code == 200
    signed_in = await gateway.sign_in()
    same = await gateway.refresh(signed_in.client_id, signed_in.refresh_token, scope=" ")
    assert same.json()["scope"] == signed_in.answer["scope"]


@pytest.mark.parametrize(
    "name", ["resource", "scope", "state", "prompt", "request", "request_uri", "response_mode", "nonce"]
)
async def test_an_authorization_parameter_without_a_value_is_omitted(gateway: Site, name: str) -> None:
    """RFC 6749 section 3.1."""
    arrived = await gateway.code(await gateway.register(), **{name: ""})
    assert arrived["code"]
    assert ("state" in arrived) is (name != "state")


@pytest.mark.parametrize("name", ["response_type", "code_challenge", "code_challenge_method"])
async def test_what_must_be_there_must_have_a_value(gateway: Site, name: str) -> None:
    answer = await gateway.authorize(await gateway.register(), **{name: ""})
    assert query_of(answer)["error"] == "invalid_request"
    assert (await gateway.authorize("")).status_code == 400


async def test_a_token_parameter_without_a_value_is_omitted(gateway: Site) -> None:
    """RFC 6749 section 3.2: some public clients send `client_secret=`."""
    client_id = await gateway.register()
    code = (await gateway.code(client_id))["code"]
    empty = dict.fromkeys(("client_secret", "resource", "client_assertion", "scope"), "")
    answer = await gateway.redeem(client_id, code, **empty)
    assert answer.status_code == 200, answer.text
    refreshed = await gateway.refresh(client_id, str(answer.json()["refresh_token"]), **empty)
    assert refreshed.status_code == 200, refreshed.text


@pytest.mark.parametrize(
    "twice", [{"client_secret": ["", ""]}, {"resource": ["", RESOURCE]}, {"scope": ["", "openid"]}]
)
async def test_a_repetition_is_refused_even_without_a_value(
    gateway: Site, twice: Mapping[str, list[str]]
) -> None:
    client_id = await gateway.register()
    fields: dict[str, Any] = {"grant_type": "refresh_token", "client_id": client_id, "refresh_token": "x"}
    answer = await gateway.http.post("/oauth/token", data={**fields, **twice})
    assert answer.status_code == 400
    assert answer.json()["error"] in {"invalid_request", "invalid_target"}


async def test_the_endpoint_s_url_is_a_resource_and_the_audience_of_its_token(gateway: Site) -> None:
    """RFC 9728 section 3.3: what the metadata at `/mcp` call the resource is accepted as such."""
    client_id = await gateway.register()
    code = (await gateway.code(client_id, resource=ENDPOINT))["code"]
    answer = await gateway.redeem(client_id, code, resource=ENDPOINT)
    assert decoded(answer.json()["access_token"])[1]["aud"] == [ENDPOINT]
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert (await gateway.call(bearer)).status_code == 200
    refreshed = await gateway.refresh(client_id, answer.json()["refresh_token"], resource=ENDPOINT)
    assert decoded(refreshed.json()["access_token"])[1]["aud"] == [ENDPOINT]


@pytest.mark.parametrize(("approved", "asked"), [(ENDPOINT, RESOURCE), (RESOURCE, ENDPOINT)])
async def test_the_token_endpoint_takes_either_identifier_and_the_audience_stays_as_approved(
    gateway: Site, approved: str, asked: str
) -> None:
    """The Inspector's page authorizes for one and redeems for the other (RFC 8707 section 2.2)."""
    client_id = await gateway.register()
    code = (await gateway.code(client_id, resource=approved))["code"]
    token = (await gateway.redeem(client_id, code, resource=asked)).json()
    assert decoded(token["access_token"])[1]["aud"] == [approved]
    refreshed = await gateway.refresh(client_id, token["refresh_token"], resource=asked)
    assert decoded(refreshed.json()["access_token"])[1]["aud"] == [approved]
    for other in ("https://other.test/", f"{asked}x"):
        refused = await gateway.refresh(client_id, refreshed.json()["refresh_token"], resource=other)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_target")
