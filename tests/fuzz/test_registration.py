"""Whatever is sent to the registration endpoint."""

from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.bench import Bench
from tests.fuzz.effort import looks
from tests.fuzz.strategies import almost_form, documents, encoded_json, json_values, media_types
from tests.servers.gateway.harness import CALLBACK

JSON = {"content-type": "application/json"}
METADATA = {
    "client_name": "A client",
    "redirect_uris": [CALLBACK, "https://client.test/back"],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
    "scope": "openid profile",
    "application_type": "native",
    "logo_uri": "https://client.test/logo.png",
}


def must_be_safe(uri: str) -> None:
    parts = urlsplit(uri)
    assert parts.scheme == "https" or parts.hostname in {"localhost", "127.0.0.1", "::1"}
    assert parts.username is None
    assert "#" not in uri
    assert uri.isascii()
    assert uri.isprintable()


@looks(150)
@given(body=documents(METADATA))
def test_a_registration_is_refused_or_safe(target: Bench, body: bytes) -> None:
    target.site.clock.now += 1
    answer = target.send("POST", "/oauth/register", content=body, headers=JSON)
    assert answer.status_code in {201, 400, 413}
    if answer.status_code == 201:
        document = answer.json()
        for uri in document["redirect_uris"]:
            must_be_safe(uri)
        assert document.get("client_name", "").isprintable()
        assert "client_secret" not in document
        assert document["token_endpoint_auth_method"] == "none"


@looks(60)
@given(uris=st.lists(st.one_of(json_values, st.just(CALLBACK)), max_size=12))
def test_no_redirect_uri_makes_a_registration_fail_badly(target: Bench, uris: list[object]) -> None:
    body = encoded_json({"redirect_uris": uris})
    target.site.clock.now += 1
    answer = target.send("POST", "/oauth/register", content=body, headers=JSON)
    assert answer.status_code in {201, 400, 413}
    if answer.status_code == 201:
        assert answer.json()["redirect_uris"]


@looks(40)
@given(media_type=media_types, query=almost_form({"client_id": "x"}), body=documents(METADATA))
def test_no_media_type_or_query_makes_it_fail_badly(
    target: Bench, media_type: str, query: str, body: bytes
) -> None:
    headers = {"content-type": media_type.encode()}
    answer = target.send("POST", f"/oauth/register?{query}", content=body, headers=headers)
    assert answer.status_code in {201, 400, 413, 415, 429}
