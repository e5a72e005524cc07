"""The token endpoint, with GitHub's oddities.

Source: docs.github.com, "Troubleshooting OAuth app access token request errors".
"""

import base64
from urllib.parse import parse_qs, quote_plus

import pytest

from tests.servers.practice.conftest import Practice
from workshop.servers.practice.tokens import CODE_SECONDS

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
PKCE = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}


async def code(practice: Practice, user: str = "learner", **changes: str | None) -> str:
    answer: dict[str, str] = await practice.decide(user, **changes)
    return answer["code"]


async def test_a_code_becomes_a_token_that_neither_expires_nor_refreshes(practice: Practice) -> None:
    answer = await practice.exchange(await code(practice))
    assert answer.keys() == {"access_token", "scope", "token_type"}
    assert answer["access_token"].startswith("practice_learner_")
    assert (answer["scope"], answer["token_type"]) == ("repo,read:user", "bearer")


async def test_the_token_belongs_to_whoever_pressed_the_button(practice: Practice) -> None:
    token = (await practice.exchange(await code(practice, "mentor")))["access_token"]
    answer = await practice.browser.get("/user", headers={"Authorization": f"Bearer {token}"})
    assert answer.json()["login"] == "mentor"


async def test_the_answer_is_a_form_unless_json_is_asked_for(practice: Practice) -> None:
    fields = {"client_id": practice.config.client_id, "client_secret": practice.config.client_secret}
    answer = await practice.browser.post(
        "/login/oauth/access_token", data=fields | {"code": await code(practice)}
    )
    assert answer.headers["content-type"].startswith("application/x-www-form-urlencoded")
    assert answer.headers["cache-control"] == "no-store"
    assert parse_qs(answer.text)["scope"] == ["repo,read:user"]


async def test_errors_are_forms_with_status_200_too(practice: Practice) -> None:
    answer = await practice.browser.post("/login/oauth/access_token", data={"code": "x"})
    assert answer.status_code == 200
    assert parse_qs(answer.text)["error"] == ["incorrect_client_credentials"]


async def test_a_code_works_once(practice: Practice) -> None:
    once = await code(practice)
    answers = [await practice.exchange(once) for _ in range(2)]
    assert ["access_token" in answer for answer in answers] == [True, False]
    assert answers[1]["error"] == "bad_verification_code"
    assert {"error_description", "error_uri"} <= answers[1].keys()


async def test_a_code_expires_after_ten_minutes(practice: Practice) -> None:
    late = await code(practice)
    practice.clock.now += CODE_SECONDS
    assert (await practice.exchange(late))["error"] == "bad_verification_code"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_secret": "wrong"}, "incorrect_client_credentials"),
        ({"client_secret": ""}, "incorrect_client_credentials"),
        ({"client_id": "wrong"}, "incorrect_client_credentials"),
        ({"redirect_uri": "http://evil.example/"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "http://localhost:1/oauth/callback"}, "redirect_uri_mismatch"),
        ({"code": "made-up"}, "bad_verification_code"),
        ({"code_verifier": VERIFIER}, "bad_verification_code"),
        ({"grant_type": "refresh_token"}, "unsupported_grant_type"),
    ],
)
async def test_what_is_wrong_has_githubs_name(
    practice: Practice, changes: dict[str, str], error: str
) -> None:
    fields = {"code": await code(practice)} | changes
    assert (await practice.exchange(**fields))["error"] == error


async def test_pkce_is_checked_when_it_was_used(practice: Practice) -> None:
    assert "access_token" in await practice.exchange(await code(practice, **PKCE), code_verifier=VERIFIER)
    wrong = await practice.exchange(await code(practice, **PKCE), code_verifier=VERIFIER[::-1])
    missing = await practice.exchange(await code(practice, **PKCE))
    assert wrong["error"] == missing["error"] == "bad_verification_code"


async def test_the_redirect_uri_may_be_left_out(practice: Practice) -> None:
    assert "access_token" in await practice.exchange(await code(practice), redirect_uri="")


async def test_the_app_may_identify_itself_with_basic(practice: Practice) -> None:
    pair = f"{practice.config.client_id}:{quote_plus(practice.config.client_secret)}"
    headers = {
        "Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}",
        "Accept": "application/json",
    }
    answer = await practice.browser.post(
        "/login/oauth/access_token", data={"code": await code(practice)}, headers=headers
    )
    assert answer.json()["token_type"] == "bearer"


@pytest.mark.parametrize("credentials", ["not base64!", "", "/w=="])
async def test_broken_basic_credentials_are_incorrect(practice: Practice, credentials: str) -> None:
    headers = {"Authorization": f"Basic {credentials}", "Accept": "application/json"}
    answer = await practice.browser.post("/login/oauth/access_token", data={"code": "x"}, headers=headers)
    assert answer.json()["error"] == "incorrect_client_credentials"


async def test_a_body_that_is_too_large_or_no_json_is_refused(practice: Practice) -> None:
    path = "/login/oauth/access_token"
    large = await practice.browser.post(path, data={"code": "x" * 70_000})
    broken = await practice.browser.post(path, content=b"{", headers={"Content-Type": "application/json"})
    assert (large.status_code, broken.status_code) == (400, 400)
