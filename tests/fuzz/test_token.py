"""Whatever is sent to the token and revocation endpoints."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.bench import Bench
from tests.fuzz.effort import looks
from tests.fuzz.strategies import almost_form, forms, media_types, sendable
from tests.servers.gateway.harness import CALLBACK, VERIFIER, SignedIn

FORM = {"content-type": "application/x-www-form-urlencoded"}
FAILURES = {400, 401, 413}


@pytest.fixture(scope="module")
def client_id(target: Bench) -> str:
    return target.run(target.site.register())


def signed_in(target: Bench, client_id: str) -> SignedIn:
    code = target.run(target.site.code(client_id))["code"]
    return SignedIn(client_id, target.run(target.site.redeem(client_id, code)).json())


def issued(target: Bench, answer: dict[str, str]) -> None:
    target.unlogged(answer["access_token"], answer.get("refresh_token", ""))


@looks(60)
@given(data=st.data())
def test_a_code_is_redeemed_by_the_right_request_only(
    target: Bench, client_id: str, data: st.DataObject
) -> None:
    right = {
        "grant_type": "authorization_code",
        "client_id": client_id,
        "code": target.run(target.site.code(client_id))["code"],
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
        "resource": target.auth.resource,
    }
    body = data.draw(forms(right))
    answer = target.send("POST", "/oauth/token", content=body, headers=FORM)
    target.unlogged(right["code"], VERIFIER)
    if answer.status_code != 200:
        assert answer.status_code in FAILURES
        assert right["code"] not in answer.text
        return
    sent = dict(parse_qsl(body.decode("latin-1")))
    assert {name: sent.get(name, "") for name in right} == {**right, "resource": sent.get("resource", "")}
    assert sent.get("resource", right["resource"]) == right["resource"], "left out, or the one there is"
    issued(target, answer.json())


@looks(60)
@given(data=st.data())
def test_a_refresh_token_is_used_by_the_right_request_only(
    target: Bench, client_id: str, data: st.DataObject
) -> None:
    login = signed_in(target, client_id)
    right = {"grant_type": "refresh_token", "client_id": client_id, "refresh_token": login.refresh_token}
    body = data.draw(forms({**right, "scope": "openid"}))
    answer = target.send("POST", "/oauth/token", content=body, headers=FORM)
    target.unlogged(login.refresh_token, login.access_token)
    if answer.status_code != 200:
        assert answer.status_code in FAILURES
        assert login.refresh_token not in answer.text
        return
    sent = dict(parse_qsl(body.decode("latin-1")))
    assert {name: sent[name] for name in right} == right
    assert set(answer.json()["scope"].split()) <= set(target.auth.scopes)
    issued(target, answer.json())


@looks(40)
@given(data=st.data())
def test_a_revocation_never_fails_badly_and_ends_only_its_own_client_s_sign_in(
    target: Bench, client_id: str, data: st.DataObject
) -> None:
    login = signed_in(target, client_id)
    token = data.draw(st.sampled_from([login.refresh_token, login.access_token]))
    right = {"client_id": client_id, "token": token, "token_type_hint": "refresh_token"}
    body = data.draw(forms(right))
    answer = target.send("POST", "/oauth/revoke", content=body, headers=FORM)
    assert answer.status_code in {200, *FAILURES}
    target.unlogged(token)
    sent = dict(parse_qsl(body.decode("latin-1")))
    ended = answer.status_code == 200 and sent["token"] == token
    refreshed = target.run(target.site.refresh(client_id, login.refresh_token))
    assert refreshed.status_code == (400 if ended else 200)


@looks(60)
@given(media_type=media_types, query=almost_form({"client_id": "x"}), authorization=sendable, data=st.data())
def test_no_header_or_query_makes_the_token_endpoints_fail_badly(
    target: Bench, client_id: str, media_type: str, query: str, authorization: str, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(["/oauth/token", "/oauth/revoke", "/oauth/consent"]))
    headers = {"content-type": media_type.encode(), "authorization": f"Basic {authorization}".encode()}
    body = f"grant_type=refresh_token&client_id={client_id}&refresh_token=x&token=x"
    answer = target.send("POST", f"{path}?{query}", content=body, headers=headers)
    assert answer.status_code in {400, 401, 403, 408, 413}
