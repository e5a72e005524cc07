"""The recorder: everything that arrived, and never a credential."""

import base64
import hashlib
import json
import logging

import httpx2
import pytest

from tests.servers.practice.conftest import Practice
from tests.serving import raw
from workshop.servers.practice.client import read_requests
from workshop.servers.practice.recorder import MOST

JWT = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"none"}', b"{}", b"x")
)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def test_method_path_headers_and_status_are_recorded(practice: Practice) -> None:
    await practice.browser.get("/user", headers={"X-Seen": "yes"})
    (request,) = await practice.recorded()
    assert (request["method"], request["path"], request["status"]) == ("GET", "/user", 401)
    assert request["headers"]["x-seen"] == "yes"


async def test_a_practice_token_is_recorded_as_user_and_sha256(practice: Practice) -> None:
    token = practice.token()
    await practice.browser.get("/user", headers={"Authorization": f"Bearer {token}"})
    (request,) = await practice.recorded()
    expected = {"scheme": "Bearer", "kind": "practice token", "user": "learner", "sha256": sha256(token)}
    assert request["headers"]["authorization"] == expected


@pytest.mark.parametrize(
    ("sent", "scheme", "kind", "credential"),
    [
        (f"Bearer {JWT}", "Bearer", "jwt", JWT),
        ("Bearer a.b.c", "Bearer", "other", "a.b.c"),
        ("Basic eDp5", "Basic", "other", "eDp5"),
        ("practice_made_up", "", "practice token", "practice_made_up"),
    ],
)
async def test_other_credentials_are_distinguished(
    practice: Practice, sent: str, scheme: str, kind: str, credential: str
) -> None:
    await practice.browser.post("/mcp/", headers={"Authorization": sent})
    (request,) = await practice.recorded()
    expected = {"scheme": scheme, "kind": kind, "user": None, "sha256": sha256(credential)}
    assert request["headers"]["authorization"] == expected


async def test_no_credential_of_a_whole_sign_in_is_recorded_or_logged(
    practice: Practice, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answer = await practice.decide("learner", state="a secret state")
    token = (await practice.exchange(answer["code"]))["access_token"]
    await practice.browser.get("/user", headers={"Authorization": f"Bearer {token}"})
    await practice.browser.get(f"/user?access_token={token}", headers={"X-GitHub-PAT": token})
    cookies = list(practice.browser.cookies.values())
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("httpx2")]
    written = json.dumps(await practice.recorded()) + "".join(ours)
    assert len(cookies) == 2
    for secret in (token, answer["code"], "a secret state", practice.config.client_secret, *cookies):
        assert secret not in written
        assert secret.replace(" ", "+") not in written


async def test_form_secrets_can_still_be_compared(practice: Practice) -> None:
    await practice.exchange("some-code")
    (request,) = await practice.recorded()
    assert request["form"]["client_id"] == practice.config.client_id
    assert request["form"]["code"] == {"kind": "code", "sha256": sha256("some-code")}
    assert request["form"]["client_secret"]["sha256"] == sha256(practice.config.client_secret)


async def test_every_request_is_one_line_in_the_log_without_its_query(
    practice: Practice, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="workshop.servers.practice")
    await practice.browser.get("/nowhere%0AFake: line?code=hidden")
    (line,) = [record.getMessage() for record in caplog.records if record.name == "workshop.servers.practice"]
    assert line.startswith("GET /nowhere%0AFake%3A%20line 404 ")
    assert "hidden" not in line


async def test_looking_at_the_practice_github_itself_is_not_recorded(practice: Practice) -> None:
    for path in ("/", "/health", "/practice/requests", "/favicon.ico"):
        await practice.browser.get(path)
    assert await practice.recorded() == []


async def test_only_the_last_requests_are_kept(practice: Practice) -> None:
    for number in range(MOST + 5):
        await practice.browser.get(f"/{number}/")
    recorded = await practice.recorded()
    assert [recorded[0]["path"], recorded[-1]["path"]] == ["/5/", f"/{MOST + 4}/"]
    assert len(recorded) == MOST


@pytest.mark.parametrize(
    "body", [b"", b"nope", b"[]", b'{"requests": 5}', b'{"requests": [{}]}', b"[" * 100_000]
)
async def test_another_program_at_the_address_is_an_error_of_http(body: bytes) -> None:
    async with raw(b"200 OK\r\nContent-Type: application/json", body) as url:
        with pytest.raises(httpx2.HTTPError):
            await read_requests(url)
