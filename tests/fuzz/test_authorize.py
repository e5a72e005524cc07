"""Whatever a browser is made to open or submit: authorization, consent, callback."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.bench import Bench, is_loopback_twin, own_url, redirected_to
from tests.fuzz.effort import looks
from tests.fuzz.strategies import NASTY, almost_form, forms, sendable
from tests.servers.gateway.harness import CALLBACK, ISSUER
from tests.servers.gateway.reading import cookies_of, form_in, query_of


@pytest.fixture(scope="module")
def client_id(target: Bench) -> str:
    return target.run(target.site.register(client_name='<b onclick="x()">A & B</b>'))


@pytest.fixture(scope="module")
def asked(target: Bench, client_id: str) -> Mapping[str, str]:
    return target.site.authorize_parameters(client_id)


def open_page(target: Bench, asked: Mapping[str, str]) -> httpx2.Response:
    page = target.browse("GET", own_url(f"/oauth/authorize?{urlencode(asked)}"))
    assert page.status_code == 200
    return page


@looks(250)
@given(data=st.data())
def test_an_authorization_request_leads_nowhere_but_to_its_client(
    target: Bench, asked: Mapping[str, str], data: st.DataObject
) -> None:
    query = data.draw(almost_form(asked))
    target.site.browser.cookies.clear()
    answer = target.browse("GET", own_url(f"/oauth/authorize?{query}"))
    assert answer.status_code in {200, 303, 400}
    if answer.status_code == 303:
        assert is_loopback_twin(redirected_to(answer))
        told = parse_qsl(urlsplit(answer.headers["location"]).query, strict_parsing=True)
        assert dict(told)["iss"] == ISSUER
        assert {name for name, _ in told} <= {"error", "error_description", "state", "iss"}, "no code"
    assert bool(cookies_of(answer)) == (answer.status_code == 200)


@looks(60)
@given(name=st.one_of(st.sampled_from([nasty for nasty in NASTY if len(nasty) <= 256]), st.text(max_size=80)))
def test_no_client_name_becomes_markup(target: Bench, name: str) -> None:
    client = target.run(target.site.register(client_name=name.encode("utf-8", "replace").decode()))
    open_page(target, target.site.authorize_parameters(client))


@looks(80)
@given(data=st.data())
def test_only_the_form_we_made_leads_upstream(
    target: Bench, asked: Mapping[str, str], data: st.DataObject
) -> None:
    target.site.browser.cookies.clear()
    page = open_page(target, asked)
    _, fields = form_in(page)
    right = {**fields, "decision": "approve"}
    body = data.draw(st.one_of(st.just(urlencode(right).encode()), forms(right)))
    kept = data.draw(st.booleans())
    if not kept:
        target.site.browser.cookies.clear()
    headers = {"content-type": "application/x-www-form-urlencoded", "origin": own_url("")}
    answer = target.browse("POST", own_url("/oauth/consent"), content=body, headers=headers)
    goes_to = redirected_to(answer)
    sent = dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True))
    if goes_to == target.auth.upstream.authorization_endpoint:
        assert kept
        assert {name: sent.get(name) for name in right} == right
    elif goes_to is not None:
        assert kept
        assert goes_to == CALLBACK
        assert sent["decision"] == "deny"
    target.unlogged(fields["ticket"], fields["csrf"])


@looks(60)
@given(data=st.data())
def test_a_callback_gives_no_code_but_for_a_real_sign_in(
    target: Bench, asked: Mapping[str, str], data: st.DataObject
) -> None:
    target.site.browser.cookies.clear()
    to_upstream = target.run(target.site.decide(open_page(target, asked)))
    back = target.run(target.site.at_upstream(to_upstream))
    right = dict(parse_qsl(urlsplit(back.headers["location"]).query))
    query = data.draw(almost_form(right))
    answer = target.browse("GET", own_url(f"/oauth/callback?{query}"))
    assert answer.status_code in {303, 400}
    target.unlogged(right["state"], right["code"])
    if answer.status_code == 303:
        told = query_of(answer)
        assert is_loopback_twin(redirected_to(answer))
        sent = dict(parse_qsl(query))
        assert sent["state"] == right["state"]
        assert told["state"] == asked["state"]
        assert ("code" in told) == (sent.get("code") == right["code"] and "error" not in query.split("="))
        target.unlogged(told.get("code", ""))


@looks(60)
@given(cookie=sendable, state=sendable)
def test_no_cookie_opens_a_sign_in(target: Bench, cookie: str, state: str) -> None:
    target.site.browser.cookies.clear()
    headers = {"cookie": f"workshop-gateway-0011223344556677={cookie}".encode()}
    query = urlencode({"state": state, "code": "c"})
    answer = target.browse("GET", own_url(f"/oauth/callback?{query}"), headers=headers)
    assert answer.status_code == 400
