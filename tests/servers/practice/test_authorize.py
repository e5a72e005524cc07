"""The authorize page: who may be continued as, what the app learns, and what a stranger cannot do.

The table of the redirect rule is the one of docs.github.com, "Authorizing OAuth apps".
"""

import pytest

from tests.servers.practice.conftest import Practice
from workshop.servers.practice.oauth import accepts_redirect, with_parameters
from workshop.servers.practice.tokens import CODE_SECONDS

CALLBACK = "http://localhost:8080/oauth/callback"
EXAMPLE = "http://example.com/path"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


async def test_the_page_reports_what_it_is_who_asks_for_what_and_where_it_leads(practice: Practice) -> None:
    page = await practice.browser.get(practice.page_url())
    assert "not github.com" in page.text
    assert "MCP &lt;workshop&gt; would like to act for you" in page.text
    assert all(text in page.text for text in ("private ones too", "read:user", "localhost:8080", CALLBACK))
    for button in ("learner", "mentor", "deny"):
        assert f'<button name="user" value="{button}"' in page.text.replace('class="second" ', "")
    assert "Continue as learner" in page.text


async def test_the_page_names_its_hop(practice: Practice) -> None:
    page = (await practice.browser.get(practice.page_url())).text
    assert "Hop 6 of 9: sign-in." in page
    assert " of 9" not in (await practice.browser.get("/")).text


async def test_the_page_loads_nothing_and_cannot_be_framed_or_cached(practice: Practice) -> None:
    page = await practice.browser.get(practice.page_url())
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert "<script" not in page.text
    assert 'src="' not in page.text


async def test_continuing_sends_a_code_and_the_state_to_the_app(practice: Practice) -> None:
    answer = await practice.decide("learner")
    assert answer["to"] == CALLBACK
    assert answer["state"] == "state-1"
    assert answer["code"]


async def test_denying_is_reported_to_the_app_as_github_does(practice: Practice) -> None:
    answer = await practice.decide("deny")
    assert (answer["error"], answer["state"], "code" in answer) == ("access_denied", "state-1", False)
    assert {"error_description", "error_uri"} <= answer.keys()


async def test_without_state_none_is_sent_back(practice: Practice) -> None:
    assert "state" not in await practice.decide("learner", state=None)


async def test_without_redirect_uri_the_registered_callback_is_used(practice: Practice) -> None:
    assert (await practice.decide("learner", redirect_uri=None))["to"] == CALLBACK


async def test_a_loopback_redirect_may_use_another_port(practice: Practice) -> None:
    answer = await practice.decide("learner", redirect_uri="http://localhost:1234/oauth/callback/extra")
    assert answer["to"] == "http://localhost:1234/oauth/callback/extra"


async def test_a_foreign_redirect_uri_is_reported_to_the_registered_callback(practice: Practice) -> None:
    answer = await practice.browser.get(practice.page_url(redirect_uri="http://evil.example/oauth/callback"))
    assert answer.headers["location"].startswith(f"{CALLBACK}?error=redirect_uri_mismatch&")
    assert "state=state-1" in answer.headers["location"]


async def test_an_unknown_app_gets_a_page_and_no_redirect(practice: Practice) -> None:
    answer = await practice.browser.get(practice.page_url(client_id="somebody-else"))
    assert answer.status_code == 404
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": CHALLENGE, "code_challenge_method": "plain"},
        {"code_challenge": CHALLENGE},
        {"code_challenge": "short", "code_challenge_method": "S256"},
        {"code_challenge_method": "S256"},
    ],
)
async def test_pkce_other_than_s256_is_refused(practice: Practice, changes: dict[str, str]) -> None:
    answer = await practice.browser.get(practice.page_url(**changes))
    assert "error=invalid_request" in answer.headers["location"]


async def test_the_form_works_only_in_the_browser_that_was_shown_it(practice: Practice) -> None:
    form = await practice.form()
    async with practice.another_browser() as stranger:
        await stranger.get(practice.page_url())
        answer = await stranger.post("/login/oauth/authorize", data={**form, "user": "learner"})
    assert answer.status_code == 403
    assert "location" not in answer.headers


async def test_the_form_works_once(practice: Practice) -> None:
    form = {**await practice.form(), "user": "learner"}
    statuses = [
        (await practice.browser.post("/login/oauth/authorize", data=form)).status_code for _ in range(2)
    ]
    assert statuses == [302, 403]


async def test_the_form_expires_after_ten_minutes(practice: Practice) -> None:
    form = await practice.form()
    practice.clock.now += CODE_SECONDS
    answer = await practice.browser.post("/login/oauth/authorize", data={**form, "user": "learner"})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "fields", [{}, {"user": "learner"}, {"user": "learner", "authenticity_token": "made-up"}]
)
async def test_a_post_without_the_form_is_refused(practice: Practice, fields: dict[str, str]) -> None:
    await practice.form()
    assert (await practice.browser.post("/login/oauth/authorize", data=fields)).status_code == 403


async def test_somebody_who_does_not_exist_cannot_be_continued_as(practice: Practice) -> None:
    form = await practice.form()
    answer = await practice.browser.post("/login/oauth/authorize", data={**form, "user": "root"})
    assert answer.status_code == 400


async def test_an_endless_form_is_refused(practice: Practice) -> None:
    answer = await practice.browser.post("/login/oauth/authorize", data={"user": "x" * 70_000})
    assert answer.status_code == 400


async def test_the_page_is_shown_again_even_to_those_who_approved(practice: Practice) -> None:
    await practice.decide("learner")
    assert (await practice.browser.get(practice.page_url())).status_code == 200


async def test_with_skip_consent_the_same_browser_gets_a_code_without_being_asked(practice: Practice) -> None:
    await practice.decide("learner")
    await practice.control("switches", {"skip_consent": True})
    answer = await practice.browser.get(practice.page_url(state="attacker"))
    assert answer.status_code == 302
    assert "code=" in answer.headers["location"]


@pytest.mark.parametrize("changes", [{"scope": "repo gist"}, {"prompt": "select_account"}])
async def test_skip_consent_still_asks_for_more_scopes_and_on_request(
    practice: Practice, changes: dict[str, str]
) -> None:
    await practice.decide("learner")
    await practice.control("switches", {"skip_consent": True})
    assert (await practice.browser.get(practice.page_url(**changes))).status_code == 200


async def test_skip_consent_never_helps_another_browser_or_somebody_who_denied(practice: Practice) -> None:
    await practice.control("switches", {"skip_consent": True})
    await practice.decide("deny")
    assert (await practice.browser.get(practice.page_url())).status_code == 200
    await practice.decide("learner")
    async with practice.another_browser() as stranger:
        assert (await stranger.get(practice.page_url())).status_code == 200


@pytest.mark.parametrize(
    ("callback", "asked"),
    [
        (EXAMPLE, "http://example.com/path"),
        (EXAMPLE, "http://example.com/path/subdir/other"),
        (EXAMPLE, "http://oauth.example.com/path"),
        (EXAMPLE, "http://oauth.example.com/path/subdir/other"),
        (EXAMPLE, "http://example.com:80/path"),
        (CALLBACK, "http://localhost:8080/oauth/callback"),
        (CALLBACK, "http://localhost:1234/oauth/callback"),
        (CALLBACK, "http://localhost/oauth/callback/below"),
        ("http://127.0.0.1/path", "http://127.0.0.1:1234/path"),
    ],
)
def test_what_github_calls_good_is_accepted(callback: str, asked: str) -> None:
    assert accepts_redirect(callback, asked)


@pytest.mark.parametrize(
    ("callback", "asked"),
    [
        (EXAMPLE, "http://example.com/bar"),
        (EXAMPLE, "http://example.com/"),
        (EXAMPLE, "http://example.com:8080/path"),
        (EXAMPLE, "http://oauth.example.com:8080/path"),
        (EXAMPLE, "http://example.org/path"),
        (EXAMPLE, "http://notexample.com/path"),
        (EXAMPLE, "https://example.com/path"),
        (EXAMPLE, "http://example.com/pathology"),
        (EXAMPLE, "http://example.com/path/../bar"),
        (EXAMPLE, "http://example.com/path/%2e%2e/bar"),
        (EXAMPLE, "http://example.com/path#part"),
        (EXAMPLE, "http://somebody@example.com/path"),
        (CALLBACK, "http://127.0.0.1:8080/oauth/callback"),
        (CALLBACK, "http://localhost.example.com/oauth/callback"),
        (CALLBACK, "http://sub.localhost:8080/oauth/callback"),
        (CALLBACK, "http://localhost:99999/oauth/callback"),
        (CALLBACK, "javascript:alert(1)"),
    ],
)
def test_everything_else_is_refused(callback: str, asked: str) -> None:
    assert not accepts_redirect(callback, asked)


def test_parameters_join_those_that_are_there() -> None:
    joined = with_parameters("http://localhost/cb?a=1", {"code": "x y", "state": "&"})
    assert joined == "http://localhost/cb?a=1&code=x+y&state=%26"
