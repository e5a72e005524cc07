"""Each reason that GitHub has to refuse a login is told apart: to the client, and in the log."""

import logging
import re
from pathlib import Path

import httpx2
import pytest
from aiohttp import web

from tests.servers.gateway.harness import ISSUER, PATIENT, Site, configured, settings, site, upstream_of
from tests.servers.gateway.reading import query_of
from workshop.core.refusals import known_refusal, refusal_in

CONTROL = {"X-Practice-Control": "1"}
REFUSED = [
    ("authorize", "application_suspended", "application_suspended"),
    ("authorize", "redirect_uri_mismatch", "redirect_uri_mismatch"),
    ("token", "incorrect_client_credentials", "incorrect_client_credentials"),
    ("token", "bad_verification_code", "bad_verification_code"),
    ("token", "redirect_uri_mismatch", "redirect_uri_mismatch"),
    ("token", "unverified_user_email", "unverified_user_email"),
    ("userinfo", "401", "userinfo_401"),
    ("userinfo", "403", "userinfo_403"),
    ("userinfo", "404", "userinfo_404"),
    ("userinfo", "429", "userinfo_429"),
]


async def ended(gateway: Site, practice: str, target: str, fault: str) -> dict[str, str]:
    """What comes to the client when the practice GitHub refuses one step with this fault."""
    async with httpx2.AsyncClient(headers=CONTROL) as control:
        body = {"target": target, "fault": fault}
        assert (await control.post(f"{practice}/practice/faults", json=body)).status_code == 200
    return await gateway.code(await gateway.register(), "learner")


@pytest.mark.parametrize(("target", "fault", "code"), REFUSED)
async def test_a_refusal_is_named_with_what_helps_and_nobody_is_said_to_have_denied_it(
    tmp_path: Path, practice: str, target: str, fault: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with site(configured(tmp_path, settings(tmp_path, upstream=practice))) as gateway:
        with caplog.at_level(logging.INFO):
            answer = await ended(gateway, practice, target, fault)
    refusal = known_refusal(code)
    assert refusal is not None
    assert answer["error"] == ("temporarily_unavailable" if code == "userinfo_429" else "server_error")
    assert answer["error_description"] == (
        f"Signing in at github failed. {refusal.meaning} ({code}). {refusal.remedy}."
    )
    assert refusal_in(answer["error_description"]) == refusal
    assert f"upstream github: the upstream refused: {code}" in caplog.text


async def test_a_person_who_says_no_at_github_denied_it(tmp_path: Path, practice: str) -> None:
    async with site(configured(tmp_path, settings(tmp_path, upstream=practice))) as gateway:
        answer = await ended(gateway, practice, "authorize", "access_denied")
    assert (answer["error"], answer["iss"]) == ("access_denied", ISSUER)
    assert refusal_in(answer["error_description"]) is None


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("<script>alert(1)</script>", "The upstream refused."),
        ("incorrect_client_credentials\r\nSet-Cookie: x=y", "The upstream refused."),
        (["incorrect_client_credentials"], "The upstream refused."),
        (7, "The upstream refused."),
    ],
)
async def test_a_code_that_is_not_on_the_list_stays_out(
    tmp_path: Path, error: object, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def token(_: web.Request) -> web.Response:
        return web.json_response({"error": error, "error_description": "SECRETWORDS"})

    async with (
        upstream_of(web.post("/login/oauth/access_token", token)) as upstream,
        site(configured(tmp_path, settings(tmp_path, upstream=upstream)), patience=PATIENT) as gateway,
    ):
        to_upstream = await gateway.decide(await gateway.authorize(await gateway.register()))
        sent = {"state": query_of(to_upstream)["state"], "code": "a-code"}
        with caplog.at_level(logging.INFO):
            answer = query_of(await gateway.browser.get(f"{ISSUER}/oauth/callback", params=sent))
    assert answer["error_description"].endswith(f"failed. {shown}")
    assert not re.search("<script|Set-Cookie|SECRETWORDS", caplog.text + str(answer))


async def test_a_403_that_is_a_rate_limit_is_distinguished(tmp_path: Path) -> None:
    async def token(_: web.Request) -> web.Response:
        return web.json_response({"access_token": "practice_a", "token_type": "bearer"})

    async def user(_: web.Request) -> web.Response:
        return web.json_response({}, status=403, headers={"X-RateLimit-Remaining": "0"})

    routes = (web.post("/login/oauth/access_token", token), web.get("/user", user))
    async with (
        upstream_of(*routes) as upstream,
        site(configured(tmp_path, settings(tmp_path, upstream=upstream))) as gateway,
    ):
        to_upstream = await gateway.decide(await gateway.authorize(await gateway.register()))
        sent = {"state": query_of(to_upstream)["state"], "code": "a-code"}
        answer = query_of(await gateway.browser.get(f"{ISSUER}/oauth/callback", params=sent))
    assert "(userinfo_429)" in answer["error_description"]


def test_every_refusal_fits_into_an_error_description() -> None:
    """RFC 6749 section 4.1.2.1: printable ASCII without quotation marks and backslashes."""
    for _, _, code in REFUSED:
        refusal = known_refusal(code)
        assert refusal is not None
        assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", f"{refusal.sentence}. {refusal.remedy}.")
