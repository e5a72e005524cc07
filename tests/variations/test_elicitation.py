"""The gateway with a vault: it asks for the account it needs, in both eras, and answers as documented."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp_types import ElicitCompleteNotification

from tests.variations.elicitation import ERAS, MODERN, PROFILE, Gateway, gateway, link_id, load, running, told
from workshop.auth.limits import Patience
from workshop.auth.openapi_tools import Operation
from workshop.auth.outbound import Outbound
from workshop.auth.upstream_api import ApiAnswer, count_items
from workshop.core.console import Progress
from workshop.course.lessons import find_variation
from workshop.course.variation_run import Edition, VariationPrograms

__all__ = ["gateway", "running"]

REPOSITORIES, ISSUES = "GitHubTarget___getUserRepos", "GitHubTarget___getRepoIssues"
PLACE = {"owner": "learner", "repo": "trail-mapper"}
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
}


async def test_the_tools_are_those_of_the_description(gateway: Gateway) -> None:
    description = json.loads((find_variation("elicitation").directory / "github.openapi.json").read_text())
    async with gateway.client(await gateway.token()) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert tools.keys() == {PROFILE, REPOSITORIES, ISSUES, "get_user_profile", "get_user_repos"}
    assert tools["get_user_repos"].input_schema == tools[REPOSITORIES].input_schema
    asked = description["paths"]["/user/repos"]["get"]["parameters"]
    for parameter in asked:
        shown = tools[REPOSITORIES].input_schema["properties"][parameter["name"]]
        assert shown == parameter["schema"] | {"description": parameter["description"]}
    assert tools[ISSUES].input_schema["required"] == ["owner", "repo"]


@pytest.mark.parametrize("mode", ERAS)
async def test_a_call_asks_for_the_account_and_then_works(gateway: Gateway, mode: str) -> None:
    async with gateway.asking(mode=mode) as asking, gateway.browser() as browser:
        url, _ = await asking.ask()
        end = await browser.open(url)
        assert (end.status_code, "<form" in end.text) == (200, False)
        result = await asking.client.call_tool(PROFILE)
    assert told(result) == {
        "status": "success",
        "username": "learner",
        "name": "Lea Lerner",
        "bio": told(result)["bio"],
        "public_repos": 3,
        "followers": 1,
        "following": 1,
        "profile_url": f"{gateway.github}/learner",
    }
    assert asking.asked == []


@pytest.mark.parametrize("mode", ERAS)
async def test_the_link_is_our_own_page_and_names_nobody(gateway: Gateway, mode: str) -> None:
    async with gateway.asking(mode=mode) as asking:
        url, bound = await asking.ask()
        again, _ = await asking.ask()
    assert url == f"{gateway.url}/connect?elicitation_id={link_id(url)}"
    assert len(link_id(url)) == 43
    assert again == url  # the person may still be at it
    assert link_id(url) == bound or link_id(url) not in bound
    async with gateway.asking(mode=mode) as another_client:
        assert (await another_client.ask())[0] != url


async def test_a_client_of_today_needs_one_call(gateway: Gateway) -> None:
    async with gateway.browser() as browser, gateway.asking() as asking:
        asking.then = browser.open
        result = await asking.client.call_tool(PROFILE)
        repeated = await asking.client.call_tool(PROFILE)
    assert told(result)["username"] == told(repeated)["username"] == "learner"
    assert len(asking.asked) == 1


async def test_a_retry_waits_for_the_person_at_the_page(gateway: Gateway) -> None:
    async with gateway.browser() as browser, gateway.asking() as asking, anyio.create_task_group() as tasks:
        form = anyio.Event()

        async def later(url: str) -> None:
            async def visit() -> None:
                page = await browser.open_to_form(url, "/connect")
                form.set()
                await browser.open(str((await browser.press(page)).headers["location"]))

            tasks.start_soon(visit)

        asking.then = later
        with anyio.fail_after(15):  # less than the call is held
            result = await asking.client.call_tool(PROFILE)
        assert form.is_set()
    assert told(result)["username"] == "learner"
    assert len(asking.asked) == 1


async def test_a_person_who_never_comes_is_waited_for_and_then_given_up(
    gateway: Gateway, tmp_path: Path, quiet: Progress
) -> None:
    """The SDK's client gives up after ten rounds: the gateway has said so before."""
    programs = VariationPrograms(tmp_path)
    variation = find_variation("elicitation")
    (pattern,) = (program for program in variation.programs if program.name == "elicitation")
    started = json.loads((gateway.running.directory / "elicitation" / "config.json").read_text())
    config = {
        **started,
        "url": "{url:elicitation}",
        "store": "{directory}/store.sqlite",
        "wait_seconds": 0.01,
    }
    try:
        url = programs.start([replace(pattern, port=0, config=config)], Edition(), 60, quiet).endpoints[
            "elicitation"
        ]
        impatient = Gateway(
            replace(gateway.running, endpoints={**gateway.running.endpoints, "elicitation": url})
        )
        impatient.logins = gateway.logins
        construct(impatient, tmp_path)
        async with impatient.asking(aud=[url]) as asking:
            result = await asking.client.call_tool(PROFILE)
    finally:
        programs.stop(quiet)
    assert told(result) == {
        "status": "error",
        "message": "The account was not connected; call again for a new link",
    }
    assert len(asking.asked) == 1


def construct(gateway: Gateway, directory: Path) -> None:
    """Set up a gateway that the plumbing has not set up."""
    config = json.loads((gateway.running.directory / "prepare" / "config.json").read_text())
    config |= {name: str(directory / "made" / name) for name in ("state", "output")}
    path = directory / "construct.json"
    path.write_text(json.dumps(config | {"url": gateway.url, "control": gateway.url}))
    script = find_variation("elicitation").directory / "construct.py"
    subprocess.run([sys.executable, str(script), "--config", str(path)], check=True, capture_output=True)


async def test_a_client_with_a_session_learns_when_it_is_done(gateway: Gateway) -> None:
    async with gateway.asking(mode="legacy") as asking, gateway.browser() as browser:
        url, elicitation = await asking.ask()
        await browser.open(url)
        with anyio.fail_after(60):
            while not asking.heard:
                await anyio.lowlevel.checkpoint()
        (told_of,) = asking.heard
    assert isinstance(told_of, ElicitCompleteNotification)
    assert told_of.params.elicitation_id == elicitation == link_id(url)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_client_that_cannot_be_sent_anywhere_learns_what_to_do(gateway: Gateway, mode: str) -> None:
    async with gateway.client(await gateway.token(), mode) as client, gateway.browser() as browser:
        result = await client.call_tool(PROFILE)
        answer = told(result)
        assert result.is_error
        assert answer.keys() == {"status", "auth_url", "elicitation_id", "message"}
        assert answer["status"] == "oauth_required"
        assert "open auth_url yourself" in answer["message"]
        await browser.open(answer["auth_url"])
        assert told(await client.call_tool(PROFILE))["username"] == "learner"


async def test_forms_alone_are_not_url_elicitation(gateway: Gateway) -> None:
    headers = {
        "Authorization": f"Bearer {await gateway.token()}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": "tools/call",
        "Mcp-Name": PROFILE,
    }
    params = {"name": PROFILE, "arguments": {}, "_meta": META}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    async with httpx2.AsyncClient(trust_env=False) as http:
        answer = (await http.post(gateway.running.url, json=body, headers=headers)).json()
    assert answer["result"]["isError"]
    assert "oauth_required" in answer["result"]["content"][0]["text"]


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_person_who_does_not_want_to_is_not_asked_again(gateway: Gateway, action: str) -> None:
    async with gateway.asking() as asking:
        asking.action = action
        result = await asking.client.call_tool(PROFILE)
    assert result.is_error
    assert "did not want" in told(result)["message"]
    assert len(asking.asked) == 1


@pytest.mark.parametrize("where", ["here", "at GitHub"])
async def test_a_no_on_the_page_ends_the_call(gateway: Gateway, where: str) -> None:
    async with gateway.browser() as browser, gateway.asking() as asking:

        async def refuse(url: str) -> None:
            page = await browser.open_to_form(
                url, "/connect" if where == "here" else "/login/oauth/authorize"
            )
            answer = await browser.press(
                page, **({"decision": "deny"} if where == "here" else {"user": "deny"})
            )
            if where == "at GitHub":
                answer = await browser.http.get(answer.headers["location"])
            assert "onnected" in answer.text

        asking.then = refuse
        result = await asking.client.call_tool(PROFILE)
    assert result.is_error
    assert "was not connected" in told(result)["message"]


async def test_repositories_and_issues_are_as_documented(gateway: Gateway) -> None:
    async with gateway.browser() as browser, gateway.asking() as asking:
        asking.then = browser.open
        repositories = told(await asking.client.call_tool(REPOSITORIES, {"sort": "updated"}))
        two = told(await asking.client.call_tool(REPOSITORIES, {"per_page": 3}))
        issues = told(await asking.client.call_tool(ISSUES, {**PLACE, "per_page": 1}))
    assert repositories["repositories"][0] == {
        "name": "trail-mapper",
        "description": repositories["repositories"][0]["description"],
        "url": f"{gateway.github}/learner/trail-mapper",
        "stars": repositories["repositories"][0]["stars"],
        "language": "TypeScript",
        "open_issues": 4,
    }
    assert (repositories["status"], repositories["total_count"]) == ("success", 4)
    assert (len(two["repositories"]), two["total_count"]) == (3, 4)
    assert (len(issues["issues"]), issues["total_count"]) == (1, 4)
    assert issues["issues"][0]["title"] == "GPX export drops the last waypoint"


@pytest.mark.parametrize(("name", "what"), [("getUserRepos", "repositories"), ("getRepoIssues", "issues")])
async def test_at_most_ten_are_shown_and_all_are_counted(name: str, what: str) -> None:
    answer = ApiAnswer(200, [{"name": f"repository {number}"} for number in range(12)], {})
    total = await count_items(Outbound(Patience()), "http://localhost:1", answer, "a token")
    result = load("results").shown("GitHub", Operation(name, "", {}, "/"), answer, total)
    assert (len(result[what]), result["total_count"]) == (10, 12)


@pytest.mark.parametrize("body", [None, "a text", 3, {"message": "Not Found"}, {"message": None}])
async def test_an_error_that_is_a_text_is_an_error_too(body: object) -> None:
    operation = Operation("getUserProfile", "", {}, "/user")
    result = load("results").shown("GitHub", operation, ApiAnswer(404, body, {}), 0)
    assert result["status"] == "error"
    assert result["message"].startswith("GitHub answered 404")


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        (REPOSITORIES, {"sort": "evil"}),
        (REPOSITORIES, {"per_page": 0}),
        (REPOSITORIES, {"per_page": "30"}),
        (REPOSITORIES, {"user": "mentor"}),
        (PROFILE, {"context": {"user_id": "mentor"}}),
        (ISSUES, {"owner": "learner"}),
        (ISSUES, {"owner": "..", "repo": ".."}),
    ],
)
async def test_arguments_that_do_not_fit_go_nowhere(
    gateway: Gateway, tool: str, arguments: dict[str, Any]
) -> None:
    async with gateway.asking() as asking:
        result = await asking.client.call_tool(tool, arguments)
    assert (result.is_error, told(result)["status"]) == (True, "error")
    assert asking.asked == []
    assert await gateway.seen() == []


@pytest.mark.parametrize("kind", ["500", "html", "empty", "drop"])
async def test_a_github_in_trouble_is_an_error_and_no_new_question(gateway: Gateway, kind: str) -> None:
    async with gateway.browser() as browser, gateway.asking() as asking:
        asking.then = browser.open
        await asking.client.call_tool(PROFILE)
        await gateway.switch("faults", {"target": "userinfo", "fault": kind})
        result = await asking.client.call_tool(PROFILE)
        assert told(result)["status"] == "error"
        assert told(await asking.client.call_tool(PROFILE))["status"] == "success"
    assert len(asking.asked) == 1


async def test_what_may_not_be_seen_is_an_error(gateway: Gateway) -> None:
    async with gateway.browser() as browser, gateway.asking() as asking:
        asking.then = browser.open
        result = await asking.client.call_tool(ISSUES, {"owner": "learner", "repo": "nothing"})
    assert told(result) == {"status": "error", "message": "GitHub answered 404: Not Found"}


async def test_a_token_that_github_refuses_is_forgotten_and_asked_for_again(gateway: Gateway) -> None:
    async with gateway.browser() as browser, gateway.asking() as asking:
        asking.then = browser.open
        await asking.client.call_tool(PROFILE)
        await gateway.switch("faults", {"fault": "revoked", "user": "learner"})
        assert told(await asking.client.call_tool(PROFILE))["username"] == "learner"
    assert len(asking.asked) == 2
    assert asking.asked[0].url != asking.asked[1].url


async def test_no_token_is_where_it_does_not_belong(gateway: Gateway, tmp_path: Path) -> None:
    async with gateway.browser() as browser, gateway.asking() as asking:
        asking.then = browser.open
        results = [await asking.client.call_tool(tool) for tool in (PROFILE, REPOSITORIES)]
    calls = [request for request in await gateway.seen() if request.path.startswith("/user")]
    assert {(request.authorization or {})["kind"] for request in calls} == {"practice token"}
    assert asking.token not in json.dumps([request.headers for request in await gateway.seen()])
    shown = "".join(page.text + str(page.headers) for page in browser.pages)
    shown += "".join(result.model_dump_json() for result in results)
    assert "practice_learner" not in shown
    kept = b"".join(
        path.read_bytes() for path in gateway.running.directory.glob("elicitation/*") if path.is_file()
    )
    assert b"practice_learner" not in kept
    assert b"connected: user" in kept  # the log is among them


async def test_a_callback_that_github_does_not_know_is_explained(gateway: Gateway) -> None:
    async with gateway.browser() as browser, gateway.asking() as asking:
        url, _ = await asking.ask()
        await gateway.switch("faults", {"target": "authorize", "fault": "redirect_uri_mismatch"})
        page = await browser.open(url)
    assert page.status_code == 502
    assert "The account was not connected" in page.text
    assert "callback" in page.text


async def test_without_a_token_the_answer_names_the_document_to_read(gateway: Gateway) -> None:
    async with gateway.browser() as browser:
        answer = await browser.http.post(gateway.running.url, json={})
        named = re.search(r'resource_metadata="([^"]+)"', answer.headers["www-authenticate"])
        assert named is not None
        document = (await browser.http.get(named[1])).json()
    assert answer.status_code == 401
    assert document["authorization_servers"] == [gateway.issuer]


@pytest.mark.parametrize("name", ["get_user_profile", PROFILE])
async def test_the_originals_names_call_the_same_tools(gateway: Gateway, name: str) -> None:
    async with gateway.browser() as browser, gateway.asking() as asking:
        asking.then = browser.open
        assert told(await asking.client.call_tool(name))["username"] == "learner"
