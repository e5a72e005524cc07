"""Switches: who may use them, what they do, and how they are seen."""

import json
from typing import Any

import pytest

from tests.servers.practice.conftest import Practice, text_of


@pytest.mark.parametrize("path", ["faults", "switches", "reset"])
@pytest.mark.parametrize("headers", [{}, {"X-Practice-Control": "yes"}])
async def test_switching_needs_the_control_header(
    practice: Practice, path: str, headers: dict[str, str]
) -> None:
    answer = await practice.browser.post(f"/practice/{path}", json={"skip_consent": True}, headers=headers)
    assert answer.status_code == 400
    assert "X-Practice-Control: 1" in answer.json()["error"]
    assert practice.state.skip_consent is False


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "10.0.0.1:8090", "", "[::1"])
@pytest.mark.parametrize("path", ["/", "/practice/requests", "/mcp/", "/login/oauth/authorize"])
async def test_a_host_that_is_not_this_computer_gets_nothing(
    practice: Practice, path: str, host: str
) -> None:
    answer = await practice.browser.get(path, headers={"Host": host})
    assert answer.status_code == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:8090", "127.0.0.1:1", "[::1]:8090", "LOCALHOST"])
async def test_every_name_of_this_computer_works(practice: Practice, host: str) -> None:
    assert (await practice.browser.get("/health", headers={"Host": host})).json()["status"] == "ok"


async def test_no_other_origin_is_allowed_to_read_or_switch(practice: Practice) -> None:
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Headers": "x-practice-control"}
    answer = await practice.browser.options("/practice/reset", headers=headers)
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"target": "mcp"}, "`fault`"),
        ({"fault": "500"}, "`target`"),
        ({"target": "moon", "fault": "500"}, "`target`"),
        ({"target": "mcp", "fault": "500", "times": 0}, "`times`"),
        ({"target": "mcp", "fault": "500", "times": "2"}, "`times`"),
        ({"target": "mcp", "fault": "slow", "seconds": 1000}, "`seconds`"),
        ({"target": "mcp", "fault": "slow", "seconds": True}, "`seconds`"),
        ({"fault": "revoked", "user": "root"}, "`user`"),
        ({"fault": ["500"], "target": "mcp"}, "`fault`"),
        ({"fault": "revoked", "user": ["learner"]}, "`user`"),
        ({"fault": "500", "target": {}}, "`target`"),
        ([], "JSON object"),
    ],
)
async def test_a_fault_that_makes_no_sense_is_explained(practice: Practice, body: object, named: str) -> None:
    answer = await practice.control("faults", body)
    assert answer.status_code == 400
    assert named in json.dumps(answer.json())


async def test_a_switch_must_be_true_or_false(practice: Practice) -> None:
    assert (await practice.control("switches", {"skip_consent": "yes"})).status_code == 400
    assert (await practice.control("switches", [])).status_code == 400


async def test_control_bodies_that_are_no_json_are_refused(practice: Practice) -> None:
    headers = {"X-Practice-Control": "1"}
    answer = await practice.browser.post("/practice/faults", content=b"\xff{", headers=headers)
    assert answer.status_code == 400


async def test_the_home_page_shows_the_switches_and_the_approvals(practice: Practice) -> None:
    before = (await practice.browser.get("/")).text
    assert "Nobody has approved MCP &lt;workshop&gt; yet" in before
    assert "No fault is switched on" in before
    await practice.decide("learner")
    await practice.control("faults", {"target": "mcp", "fault": "html", "times": 2})
    await practice.control("switches", {"skip_consent": True})
    after = (await practice.browser.get("/")).text
    assert "learner has approved" in after
    assert "Fault <strong>html</strong> at the MCP endpoint, 2 more times" in after
    assert "<strong>skipped</strong>" in after


async def test_reset_forgets_everything(practice: Practice) -> None:
    await practice.decide("learner")
    headers = practice.as_user()
    await practice.control("switches", {"skip_consent": True})
    await practice.control("faults", {"target": "userinfo", "fault": "500"})
    answer = await practice.control("reset", None)
    assert answer.json() == {"skip_consent": False, "faults": []}
    assert await practice.recorded() == []
    assert "Nobody has approved" in (await practice.browser.get("/")).text
    assert (await practice.browser.get("/user", headers=headers)).json()["message"] == "Bad credentials"


async def test_an_unknown_page_reports_it_in_words(practice: Practice) -> None:
    for path in ("/nowhere", "/learner/nothing", "/learner/trail-mapper/issues/999", "/learner/"):
        answer = await practice.browser.get(path)
        assert answer.status_code == 404, path
        assert "not github.com" in answer.text


async def test_the_profile_that_get_me_names_is_a_page(practice: Practice) -> None:
    for path in ("/learner", "/mentor"):
        page = await practice.browser.get(path)
        assert page.status_code == 200, path
        assert "GPX" not in page.text, "without a login it shows nothing of theirs"
    assert (await practice.browser.get("/nobody")).status_code == 404


async def test_every_html_url_is_a_page_with_a_few_numbers(practice: Practice) -> None:
    (issue, *_) = (
        await practice.browser.get("/repos/learner/trail-mapper/issues", headers=practice.as_user())
    ).json()
    trail = {"owner": "learner", "repo": "trail-mapper"}
    async with practice.mcp(practice.token()) as client:

        async def answer(tool: str, **arguments: str) -> Any:
            return json.loads(text_of(await client.call_tool(tool, arguments)))

        found = await answer("search_repositories", query="trail-mapper")
        commits = await answer("list_commits", **trail)
        entries = await answer("get_file_contents", **trail)
    (mapper,) = found["items"]
    shown = {}
    for item in (mapper, issue, *commits, *entries):
        page = await practice.browser.get(item["html_url"])
        assert page.status_code == 200, item["html_url"]
        shown[item["html_url"]] = page.text
    assert "<h1>learner/trail-mapper</h1>" in shown[mapper["html_url"]]
    assert f"<dt>Stars</dt><dd>{mapper['stargazers_count']}</dd>" in shown[mapper["html_url"]]
    assert f"<dt>Open issues</dt><dd>{mapper['open_issues_count']}</dd>" in shown[mapper["html_url"]]
    assert f"<dt>Comments</dt><dd>{issue['comments']}</dd>" in shown[issue["html_url"]]
    assert not any(issue["body"] in text for text in shown.values())


async def test_a_private_repository_has_no_page(practice: Practice) -> None:
    repositories = practice.state.catalog._repositories.values()
    private = [repository.full_name for repository in repositories if repository.private]
    assert private
    for name in private:
        assert (await practice.browser.get(f"/{name}")).status_code == 404
        assert (await practice.browser.get(f"/{name}", headers=practice.as_user())).status_code == 404
