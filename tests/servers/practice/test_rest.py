"""`/user` and `/user/repos`, with GitHub's headers and refusals."""

import pytest

from tests.servers.practice.conftest import Practice
from workshop.servers.practice.state import LIMIT


async def test_the_user_is_the_tokens(practice: Practice) -> None:
    for login in ("learner", "mentor"):
        answer = await practice.browser.get("/user", headers=practice.as_user(login))
        assert (answer.json()["login"], answer.json()["type"]) == (login, "User")
        assert isinstance(answer.json()["id"], int)


async def test_the_scheme_token_is_accepted_as_well(practice: Practice) -> None:
    answer = await practice.browser.get("/user", headers={"Authorization": f"token {practice.token()}"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        (None, "Requires authentication"),
        ("Bearer", "Requires authentication"),
        ("Bearer practice_learner_aaaa_bbbb", "Bad credentials"),
        ("Bearer eyJhbGciOiJub25lIn0.e30.", "Bad credentials"),
        ("Basic bGVhcm5lcjp4", "Bad credentials"),
    ],
)
async def test_without_a_good_token_the_answer_is_401(
    practice: Practice, authorization: str | None, message: str
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = await practice.browser.get("/user", headers=headers)
    assert (answer.status_code, answer.json()["message"]) == (401, message)


async def test_scopes_and_rate_limits_are_in_the_headers(practice: Practice) -> None:
    headers = practice.as_user("learner", "repo read:user")
    first, second = [await practice.browser.get("/user", headers=headers) for _ in range(2)]
    assert first.headers["x-oauth-scopes"] == "repo, read:user"
    assert int(first.headers["x-ratelimit-remaining"]) == LIMIT - 1
    assert int(second.headers["x-ratelimit-remaining"]) == LIMIT - 2


async def test_the_rate_limit_is_real_and_ends_after_an_hour(practice: Practice) -> None:
    headers = practice.as_user()
    for _ in range(LIMIT):
        practice.state.rate_limits.count("learner")
    refused = await practice.browser.get("/user", headers=headers)
    assert (refused.status_code, refused.headers["x-ratelimit-remaining"]) == (403, "0")
    practice.clock.now += 3600
    assert (await practice.browser.get("/user", headers=headers)).status_code == 200


async def repositories(practice: Practice, query: str = "", scopes: str = "repo") -> list[str]:
    answer = await practice.browser.get(f"/user/repos{query}", headers=practice.as_user("learner", scopes))
    return [repo["name"] for repo in answer.json()]


async def test_repositories_are_the_callers_sorted_by_name(practice: Practice) -> None:
    assert await repositories(practice) == ["bread-journal", "dotfiles", "sensor-garden", "trail-mapper"]


async def test_private_repositories_need_the_scope_repo(practice: Practice) -> None:
    assert "dotfiles" not in await repositories(practice, scopes="public_repo read:user")


async def test_repositories_can_be_sorted_and_turned_around(practice: Practice) -> None:
    assert (await repositories(practice, "?sort=updated"))[0] == "trail-mapper"
    assert (await repositories(practice, "?sort=created&direction=asc"))[0] == "dotfiles"


async def test_pages_are_linked(practice: Practice) -> None:
    answer = await practice.browser.get("/user/repos?per_page=3", headers=practice.as_user())
    assert len(answer.json()) == 3
    assert answer.headers["link"].startswith(
        '<http://localhost:8090/user/repos?per_page=3&page=2>; rel="next"'
    )
    last = await practice.browser.get("/user/repos?per_page=3&page=2", headers=practice.as_user())
    assert len(last.json()) == 1
    assert 'rel="prev"' in last.headers["link"]
    assert 'rel="next"' not in last.headers["link"]


@pytest.mark.parametrize(
    "query", ["?per_page=0", "?per_page=-1", "?per_page=x", "?page=²", f"?page={'9' * 5000}", "?sort=evil"]
)
async def test_strange_numbers_fall_back_to_the_defaults(practice: Practice, query: str) -> None:
    assert await repositories(practice, query)


async def test_open_issues_are_counted(practice: Practice) -> None:
    answer = await practice.browser.get("/user/repos", headers=practice.as_user())
    counts = {repo["name"]: repo["open_issues_count"] for repo in answer.json()}
    assert counts == {"trail-mapper": 4, "bread-journal": 2, "sensor-garden": 1, "dotfiles": 0}
