"""Faults: each does what it says, as often as it was told, and where it was told."""

from typing import Any

import anyio
import httpx2
import pytest

from tests.servers.practice.conftest import URL, Practice, redirected, text_of

PATHS = {
    "token": "/login/oauth/access_token",
    "userinfo": "/user",
    "mcp": "/mcp/",
    "authorize": "/login/oauth/authorize",
}


async def call(practice: Practice, target: str) -> Any:
    method = "POST" if target in {"token", "mcp"} else "GET"
    return await practice.browser.request(method, PATHS[target], headers=practice.as_user())


@pytest.mark.parametrize("target", PATHS)
async def test_500_happens_the_given_number_of_times_and_only_there(practice: Practice, target: str) -> None:
    await practice.control("faults", {"target": target, "fault": "500", "times": 2})
    others = [await call(practice, other) for other in PATHS if other != target]
    assert 500 not in {answer.status_code for answer in others}
    statuses = [(await call(practice, target)).status_code for _ in range(3)]
    assert statuses[:2] == [500, 500]
    assert statuses[2] != 500


@pytest.mark.parametrize("target", PATHS)
async def test_html_empty_and_huge_answer_200_with_the_wrong_thing(practice: Practice, target: str) -> None:
    answers = {}
    for fault in ("html", "empty", "huge"):
        await practice.control("faults", {"target": target, "fault": fault})
        answers[fault] = await call(practice, target)
    assert {answer.status_code for answer in answers.values()} == {200}
    assert answers["html"].headers["content-type"].startswith("text/html")
    assert answers["empty"].content == b""
    assert len(answers["huge"].content) > 16 * 1024 * 1024


async def test_slow_answers_in_the_end_and_reset_ends_the_waiting(practice: Practice) -> None:
    await practice.control("faults", {"target": "userinfo", "fault": "slow", "seconds": 0})
    assert (await call(practice, "userinfo")).status_code == 200
    await practice.control("faults", {"target": "userinfo", "fault": "slow", "seconds": 120})
    answers: list[int] = []

    async def slow() -> None:
        answers.append((await call(practice, "userinfo")).status_code)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(slow)
            while practice.state.faults.active:
                await anyio.lowlevel.checkpoint()
            assert answers == []
            practice.state.faults.clear()
    assert answers == [200]


async def test_none_switches_a_fault_off(practice: Practice) -> None:
    await practice.control("faults", {"target": "userinfo", "fault": "500", "times": 100})
    answer = await practice.control("faults", {"target": "userinfo", "fault": "none"})
    assert answer.json()["faults"] == []
    assert (await call(practice, "userinfo")).status_code == 200


async def test_revoked_ends_the_tokens_of_one_user_or_of_all(practice: Practice) -> None:
    learner, mentor = practice.as_user("learner"), practice.as_user("mentor")

    async def statuses() -> list[int]:
        return [
            (await practice.browser.get("/user", headers=headers)).status_code
            for headers in (learner, mentor)
        ]

    await practice.control("faults", {"fault": "revoked", "user": "learner"})
    assert await statuses() == [401, 200]
    await practice.control("faults", {"fault": "revoked"})
    assert await statuses() == [401, 401]
    assert (await practice.browser.get("/user", headers=practice.as_user())).status_code == 200


async def test_wrong_user_at_userinfo_shows_somebody_else_once(practice: Practice) -> None:
    await practice.control("faults", {"target": "userinfo", "fault": "wrong_user"})
    logins = [(await call(practice, "userinfo")).json()["login"] for _ in range(2)]
    assert logins == ["mentor", "learner"]


@pytest.mark.parametrize("target", ["token", "authorize"])
async def test_wrong_user_in_the_sign_in_gives_somebody_elses_token(practice: Practice, target: str) -> None:
    await practice.control("faults", {"target": target, "fault": "wrong_user", "times": 2})
    answer = await practice.decide("learner")
    token = (await practice.exchange(answer["code"]))["access_token"]
    assert token.startswith("practice_mentor_")


async def test_wrong_user_at_mcp_acts_for_somebody_else(practice: Practice) -> None:
    await practice.control("faults", {"target": "mcp", "fault": "wrong_user", "times": 100})
    async with practice.mcp(practice.token("learner")) as client:
        assert '"login":"mentor"' in text_of(await client.call_tool("get_me", {}))


async def test_what_nobody_foresaw_is_a_500_without_its_words(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("words of the code")

    monkeypatch.setattr(practice.state.tokens, "verify", broken)
    transport = httpx2.ASGITransport(app=practice.app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=URL) as http:
        answer = await http.get("/user", headers=practice.as_user())
    assert (answer.status_code, answer.json()["error"]) == (500, "server_error")
    assert answer.headers["connection"] == "close"
    assert "words of the code" not in answer.text


@pytest.mark.parametrize(
    ("target", "fault"),
    [("token", "401"), ("userinfo", "bad_verification_code"), ("mcp", "403"), ("authorize", "429")],
)
async def test_an_endpoint_refuses_only_as_github_does(practice: Practice, target: str, fault: str) -> None:
    answer = await practice.control("faults", {"target": target, "fault": fault})
    assert answer.status_code == 400
    assert "can refuse with" in answer.json()["why"]


async def test_refusals_look_like_github_s(practice: Practice) -> None:
    await practice.control("faults", {"target": "userinfo", "fault": "429"})
    limited = await call(practice, "userinfo")
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "60")
    await practice.control("faults", {"target": "authorize", "fault": "application_suspended"})
    back = redirected(await practice.browser.get(practice.page_url()))
    assert (back["error"], back["state"]) == ("application_suspended", "state-1")
    assert back["error_uri"].endswith("#application-suspended")
    await practice.control("faults", {"target": "token", "fault": "incorrect_client_credentials"})
    assert (await practice.exchange("any"))["error"] == "incorrect_client_credentials"
    assert (await practice.exchange("any"))["error"] == "bad_verification_code"
