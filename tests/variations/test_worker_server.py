"""The worker's server: its tools and their errors, what it refuses, and what it does not start with."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.sse import sse_client

from tests.course.conftest import Judge, judge
from tests.environment import forked
from tests.fork_server import ForkedProcess
from tests.servers.gateway.reading import origin_of
from tests.variations.test_worker import EXERCISES, FOLDER, at, mended, module
from workshop.agent.connect import connect
from workshop.core.browser import forms
from workshop.core.ports import free_port
from workshop.course.variation_run import Running
from workshop.servers.variation.service import load

__all__ = ["judge", "mended"]  # fixtures
attacker_module = module("attacker")
a_browser, HERE = attacker_module.a_browser, attacker_module.HERE


class Bearer(httpx2.Auth):
    """Sends one token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx2.Request) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


def with_client(running: Running, act: Callable[[Client], Awaitable[Any]]) -> Any:
    """What a client that has logged in sees."""

    async def acted(attacker: Any) -> Any:
        async with connect(running.url, auth=Bearer(await attacker.token()), seconds=60) as client:
            return await act(client)

    return at(running, acted)


def called(running: Running, name: str, **arguments: Any) -> tuple[bool, str]:
    result = with_client(running, lambda client: client.call_tool(name, arguments))
    return bool(result.is_error), result.content[0].text


@pytest.mark.parametrize(
    ("operation", "a", "b", "result"),
    [
        ("add", 2, 3, "5.0"),
        ("subtract", 2, 3, "-1.0"),
        ("multiply", 2, 3, "6.0"),
        ("divide", 3, 2, "1.5"),
        ("power", 2, 10, "1024.0"),
    ],
)
def test_it_calculates(mended: Running, operation: str, a: float, b: float, result: str) -> None:
    assert called(mended, "calculate", operation=operation, a=a, b=b) == (False, result)


@pytest.mark.parametrize(
    ("operation", "a", "b", "told"),
    [
        ("divide", 1, 0, "Division by zero"),
        ("power", 10, 1000, "The result is not a number"),
        ("power", -8, 0.5, "The result is not a number"),
        ("root", 4, 2, "operation"),
    ],
)
def test_what_cannot_be_calculated_is_a_tool_error(
    mended: Running, operation: str, a: float, b: float, told: str
) -> None:
    is_error, text = called(mended, "calculate", operation=operation, a=a, b=b)
    assert is_error
    assert told in text


def test_github_is_asked_for_what_is_wanted(mended: Running) -> None:
    async def ask(client: Client) -> Any:
        repositories = await client.call_tool("get_github_repos", {"limit": 2})
        names = [item["full_name"] for item in json.loads(repositories.content[0].text)["repositories"]]  # type: ignore[union-attr]
        issues = await client.call_tool("get_github_issues", {"repository": "learner/trail-mapper"})
        return names, json.loads(issues.content[0].text)["issues"]  # type: ignore[union-attr]

    names, issues = with_client(mended, ask)
    assert len(names) == 2
    assert issues[0]["number"] == max(issue["number"] for issue in issues)
    assert set(issues[0]) == {"number", "title", "body", "html_url", "created_at"}


@pytest.mark.parametrize("name", ["../user", "learner/..", "learner/a/b", "learner/a?state=all", "", "a"])
def test_a_repository_is_a_name_and_no_path(mended: Running, name: str) -> None:
    assert called(mended, "get_github_issues", repository=name) == (
        True,
        "Error executing tool get_github_issues: A repository is named OWNER/NAME",
    )


def test_what_github_refuses_is_a_tool_error(mended: Running) -> None:
    assert called(mended, "get_github_issues", repository="mentor/no-such-thing")[1].endswith(
        "GitHub answered 404"
    )


def test_the_resource_is_the_users_own_and_nobody_elses(mended: Running) -> None:
    async def read(client: Client) -> Any:
        templates = (await client.list_resource_templates()).resource_templates
        own = await client.read_resource("github://user/learner")
        with pytest.raises(MCPError):
            await client.read_resource("github://user/mentor")
        return [template.uri_template for template in templates], json.loads(own.contents[0].text)  # type: ignore[union-attr]

    templates, profile = with_client(mended, read)
    assert templates == ["github://user/{login}"]
    assert profile["login"] == "learner"


def test_the_old_transport_has_the_same_guard(mended: Running) -> None:
    origin = mended.url.removesuffix("/mcp")

    async def use(attacker: Any) -> list[str]:
        assert (await attacker.ask("GET", "/sse")).status_code == 401
        assert (await attacker.ask("POST", "/messages/?session_id=1", json={})).status_code == 401
        token = await attacker.token()
        assert (await attacker.ask("GET", f"/sse?token={token}")).status_code == 401
        headers = {"Authorization": f"Bearer {token}"}
        async with Client(sse_client(f"{origin}/sse", headers=headers), mode="legacy") as client:
            return [tool.name for tool in (await client.list_tools()).tools]

    assert "get_github_repos" in at(mended, use)


def test_a_code_works_once_however_many_try_at_the_same_time(mended: Running) -> None:
    async def race(attacker: Any) -> list[int]:
        login = await attacker.login()
        answers = await asyncio.gather(*(attacker.redeem(login) for _ in range(6)))
        return sorted(answer.status_code for answer in answers)

    assert at(mended, race) == [200, 400, 400, 400, 400, 400]


def test_a_code_that_comes_again_ends_the_token_it_gave(mended: Running) -> None:
    async def replay(attacker: Any) -> tuple[bool, int, bool]:
        login = await attacker.login()
        token = (await attacker.redeem(login)).json()["access_token"]
        before = await attacker.works(token)
        again = await attacker.redeem(login)
        return before, again.status_code, await attacker.works(token)

    assert at(mended, replay) == (True, 400, False)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"redirect_uri": f"{HERE}/other"}, "invalid_grant"),
        ({"resource": "https://other.example/mcp"}, "invalid_target"),
        ({"client_id": "nobody"}, "invalid_client"),
        ({"client_secret": "guessed"}, "invalid_client"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
def test_a_code_is_worth_nothing_without_all_it_was_made_for(
    mended: Running, changed: dict[str, str], error: str
) -> None:
    async def redeem(attacker: Any) -> httpx2.Response:
        answer: httpx2.Response = await attacker.redeem(await attacker.login(), **changed)
        return answer

    answer = at(mended, redeem)
    assert answer.json()["error"] == error
    assert "no-store" in answer.headers["cache-control"]


@pytest.mark.parametrize("path", ["/token", "/revoke"])
def test_a_client_that_tries_basic_credentials_gets_a_basic_challenge(mended: Running, path: str) -> None:
    async def ask(attacker: Any) -> httpx2.Response:
        headers = {"Authorization": "Basic Y2xpZW50OnNlY3JldA=="}
        answer: httpx2.Response = await attacker.ask("POST", path, headers=headers, data={"client_id": "x"})
        return answer

    answer = at(mended, ask)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.headers["www-authenticate"] == f'Basic realm="{mended.url.removesuffix("/mcp")}"'


def test_one_client_cannot_revoke_anothers_token(mended: Running) -> None:
    async def revoke(attacker: Any) -> tuple[int, bool, int, bool]:
        login = await attacker.login()
        token = (await attacker.redeem(login)).json()["access_token"]
        other = (await attacker.register(HERE))["client_id"]
        first = await attacker.ask("POST", "/revoke", data={"token": token, "client_id": other})
        still = await attacker.works(token)
        second = await attacker.ask("POST", "/revoke", data={"token": token, "client_id": login.client_id})
        return first.status_code, still, second.status_code, await attacker.works(token)

    assert at(mended, revoke) == (200, True, 200, False)


@asynccontextmanager
async def consent_form(attacker: Any) -> AsyncIterator[tuple[Any, dict[str, str]]]:
    """A browser before the consent page, and the page's fields."""
    client = (await attacker.register(HERE))["client_id"]
    async with a_browser() as browser:
        page = await attacker.ask("GET", attacker.request(client_id=client, state="mine"), browser)
        browser.headers.update(origin_of(str(page.url)))
        yield browser, forms(page)[0].fields


def test_who_says_no_sends_the_client_away_with_its_state_and_our_name(mended: Running) -> None:
    async def deny(attacker: Any) -> httpx2.Response:
        async with consent_form(attacker) as (browser, fields):
            data = {**fields, "decision": "deny"}
            answer: httpx2.Response = await attacker.ask("POST", "/oauth/consent", browser, data=data)
            return answer

    location = urlsplit(at(mended, deny).headers["location"])
    origin = mended.url.removesuffix("/mcp")
    assert location._replace(query="").geturl() == HERE
    assert parse_qs(location.query) == {"error": ["access_denied"], "state": ["mine"], "iss": [origin]}


def test_a_consent_counts_once_from_its_own_browser_and_with_its_own_form(mended: Running) -> None:
    async def misuse(attacker: Any) -> list[int]:
        statuses = []
        for change in ("other browser", "other csrf", "twice"):
            async with consent_form(attacker) as (browser, fields), a_browser() as other:
                data = {**fields, "decision": "approve"} | ({"csrf": "x"} if change == "other csrf" else {})
                if change == "twice":
                    await attacker.ask("POST", "/oauth/consent", browser, data=data)
                sender = other if change == "other browser" else browser
                answer = await attacker.ask("POST", "/oauth/consent", sender, data=data)
                statuses.append(answer.status_code)
        return statuses

    assert at(mended, misuse) == [403, 403, 400]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"origin": "null"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"host": "evil.example"}, 421),
    ],
    ids=["our own page", "another site's frame", "another site", "a name that was bound to us"],
)
def test_the_form_counts_as_a_browser_sends_it_from_our_own_page(
    mended: Running, headers: dict[str, str], status: int
) -> None:
    async def approve(attacker: Any) -> int:
        async with consent_form(attacker) as (browser, fields):
            data = {**fields, "decision": "approve"}
            answer = await attacker.ask("POST", "/oauth/consent", browser, data=data, headers=headers)
            return int(answer.status_code)

    assert at(mended, approve) == status


def test_the_store_is_readable_by_its_owner_only(mended: Running) -> None:
    (store,) = (mended.directory / "worker").glob("*.sqlite")
    assert store.stat().st_mode & 0o777 == 0o600


def test_each_edition_has_a_store_of_its_own(mended: Running) -> None:
    config = json.loads((mended.directory / "worker" / "config.json").read_text())
    assert config["store"].endswith("store-mended.sqlite"), "what the weak edition wrote is in another file"


@contextmanager
def started(config: dict[str, Any], tmp_path: Path) -> Iterator[ForkedProcess]:
    """The worker with a configuration of the test's own; ended when the block ends."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    with forked(str(FOLDER / "server.py"), "--config", str(path), folder=tmp_path) as process:
        yield process


def changed_config(running: Running, tmp_path: Path, **changes: Any) -> dict[str, Any]:
    config = json.loads((running.directory / "worker" / "config.json").read_text())
    port = free_port()
    own = {"port": port, "url": f"http://localhost:{port}", "store": str(tmp_path / "store.sqlite")}
    return {**config, **own, **changes}


def test_only_those_who_are_allowed_get_a_code(mended: Running, tmp_path: Path) -> None:
    config = changed_config(mended, tmp_path, allowed_usernames=["Mentor"])
    url = config["url"]

    async def try_it() -> str:
        async with attacker_module.attacking(f"{url}/mcp", tmp_path) as attacker:
            while True:
                try:
                    await attacker.ask("GET", "/health")
                    break
                except httpx2.ConnectError:
                    await anyio.sleep(0.05)
            client = (await attacker.register(HERE))["client_id"]
            async with a_browser() as browser:
                return str(await attacker.travel(browser, attacker.request(client_id=client)))

    with started(config, tmp_path):
        end = asyncio.run(asyncio.wait_for(try_it(), 60))
    assert parse_qs(urlsplit(end).query)["error"] == ["access_denied"]


def test_the_weak_edition_does_not_start_where_others_could_reach_it(mended: Running, tmp_path: Path) -> None:
    config = changed_config(mended, tmp_path, edition="weak", url="https://worker.example")
    with started(config, tmp_path) as process:
        _, told = process.communicate(timeout=60)
    assert process.returncode == 2
    assert told.splitlines()[0] == "Error: The weak edition works on loopback only"
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"edition": "weak", "github": "https://github.com"}, "The weak edition works on loopback only"),
        ({"edition": "weak", "host": "0.0.0.0"}, "The weak edition works on loopback only"),
        ({"edition": "weak", "url": "http://192.0.2.1:8101"}, "`url` in `FILE` must be https"),
        ({"allowed_usernames": []}, "`FILE` has no `allowed_usernames`, so nobody could log in"),
        ({"allowed_usernames": "learner"}, "`allowed_usernames` in `FILE` must be a list"),
        ({"client_secret_file": "/no/such/file"}, "`client_secret_file` in `FILE` cannot be read: /no/such"),
        ({"cookie_encryption_key_file": ".env#NO"}, "`cookie_encryption_key_file` in `FILE` names NO in"),
        ({"edition": None}, "`edition` in `FILE` must be 'mended' or 'weak'"),
        ({"surprise": 1}, "`surprise` in `FILE` is unknown"),
    ],
)
def test_a_wrong_configuration_is_reported(
    mended: Running, tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    (tmp_path / ".env").write_text("")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(changed_config(mended, tmp_path, **changes)))
    worker = module("worker")
    with pytest.raises(worker.UsageError) as raised:
        worker.make_worker(load(worker.WorkerConfig, path))
    assert raised.value.what.startswith(told.replace("FILE", str(path)))


def test_the_check_of_an_exercise_runs_the_learners_file(judge: Judge) -> None:
    reasons = {}
    for source in ("start.py", "solution.py"):
        (found,) = judge(FOLDER, works={"6": str(EXERCISES[5] / source)}, only=6).values()
        reasons[source] = (found.state, found.reason)
    assert reasons["start.py"][0] == "failed"
    assert reasons["start.py"][1].startswith("Still so: ")
    assert reasons["solution.py"] == ("passed", "")


def test_the_check_of_an_exercise_reports_where_a_file_fails(judge: Judge, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("import nothing_there\n")
    (found,) = judge(FOLDER, works={"4": str(mine)}, only=4).values()
    assert found.state == "failed"
    assert "4_tokens.py, line 1: ModuleNotFoundError" in found.reason


def test_a_page_on_this_computer_may_read_what_a_client_needs_and_no_more(mended: Running) -> None:
    page = {"origin": "http://localhost:6274", "access-control-request-method": "POST"}
    expected = {
        ("OPTIONS", "/register"): (200, page["origin"]),
        ("OPTIONS", "/token"): (200, page["origin"]),
        ("OPTIONS", "/mcp"): (200, page["origin"]),
        ("POST", "/mcp"): (401, page["origin"]),
        ("GET", "/.well-known/oauth-protected-resource/mcp"): (200, page["origin"]),
        ("OPTIONS", "/oauth/consent"): (403, ""),
        ("GET", "/auth"): (403, ""),
        ("POST", "/sse"): (403, ""),
    }

    async def ask(attacker: Any) -> dict[tuple[str, str], tuple[int, str]]:
        found = {}
        for method, path in expected:
            answer = await attacker.ask(method, path, headers=page)
            found[method, path] = answer.status_code, answer.headers.get("access-control-allow-origin", "")
        return found

    assert at(mended, ask) == expected
