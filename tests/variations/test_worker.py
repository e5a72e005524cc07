"""The worker in both editions: thirteen holes, what closes them, and the same answer to the same question."""

import asyncio
import importlib
import io
import json
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from tests.serving import answer_to_two_lengths
from workshop.agent.part import RunContext
from workshop.agent.run import RunOptions, load_answer, run_answer
from workshop.audit.probe.report import probe
from workshop.core.console import Console
from workshop.core.paths import parts_dir
from workshop.course.lessons import find_variation
from workshop.course.practice_record import API, token_swap
from workshop.course.variation_run import Running, variation_running
from workshop.servers.variation.service import Listening

FOLDER = parts_dir() / "04_remote_oauth" / "variations" / "worker"
EXERCISES = sorted((FOLDER / "exercises").glob("[0-9]_*"))


def module(name: str) -> Any:
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


HOLES, ALSO = module("holes").HOLES, module("holes").ALSO
attacker_module = module("attacker")
attacking = attacker_module.attacking
every_hole = pytest.mark.parametrize("hole", [*HOLES, *ALSO], ids=lambda hole: hole.is_open.__name__)
Look = Callable[[Any], Awaitable[Any]]

# What the probe sees of each group, which is less than there is: it never logs in, and reads no files.
SEEN = {
    1: {"T66": "high", "T61r": "low"},
    2: {"T25": "medium", "T25h": "low"},
    3: {"A11": "low"},
    4: {"T51": "low", "T61": "low", "T87": "low"},
    5: {
        **dict.fromkeys(("R2", "R7", "R9", "T85", "T90"), "medium"),
        **dict.fromkeys(("R1p", "R4t", "T91"), "low"),
        "H2": "info",
    },
    6: {},
}


@pytest.fixture(scope="module")
def weak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("weak")
    with variation_running(
        find_variation("worker"), directory, edition="weak", exercises=directory / "mine"
    ) as running:
        yield running


@pytest.fixture(scope="module")
def mended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With a learner's file beside it, which is none of its business."""
    directory = tmp_path_factory.mktemp("mended")
    (directory / "mine").mkdir()
    shutil.copy(EXERCISES[4] / "start.py", directory / "mine" / f"{EXERCISES[4].name}.py")
    with variation_running(find_variation("worker"), directory, exercises=directory / "mine") as running:
        yield running


@pytest.fixture
def mine(weak: Running) -> Iterator[Path]:
    """The learner's files, which the weak worker takes in the place of its own; none is left."""
    folder = weak.directory.parent / "mine"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def at(running: Running, look: Look) -> Any:
    """What an attacker of this worker sees."""

    async def looked() -> Any:
        async with attacking(running.url, running.directory / "worker") as attacker:
            return await look(attacker)

    return asyncio.run(looked())


async def works(attacker: Any) -> bool:
    return bool(await attacker.works(await attacker.token()))


def findings(running: Running) -> dict[str, str]:
    return {finding.id: str(finding.severity) for finding in probe(running.url).findings}


def test_there_are_thirteen_and_each_belongs_to_an_exercise() -> None:
    assert len(HOLES) == 13
    assert {hole.exercise for hole in HOLES} == {int(folder.name[0]) for folder in EXERCISES}


@every_hole
def test_the_weak_edition_has_the_hole(weak: Running, hole: Any) -> None:
    assert at(weak, hole.is_open)


@every_hole
def test_the_mended_edition_has_not(mended: Running, hole: Any) -> None:
    assert not at(mended, hole.is_open)


def test_the_probe_sees_what_can_be_seen_from_outside_and_nothing_in_the_mended_edition(
    weak: Running, mended: Running
) -> None:
    assert findings(weak) == {name: severity for group in SEEN.values() for name, severity in group.items()}
    assert findings(mended) == {}


@pytest.mark.parametrize("folder", EXERCISES, ids=lambda folder: folder.name)
def test_one_solution_closes_its_holes_at_once_and_the_login_goes_on_working(
    weak: Running, mine: Path, folder: Path
) -> None:
    number = int(folder.name[0])
    group = [hole for hole in (*HOLES, *ALSO) if hole.exercise == number]
    assert all(at(weak, hole.is_open) for hole in group)
    before = findings(weak)
    shutil.copy(folder / "solution.py", mine / f"{folder.name}.py")
    assert [hole.name for hole in group if at(weak, hole.is_open)] == []
    assert at(weak, works)
    assert before.items() - findings(weak).items() == SEEN[number].items()
    assert findings(weak).keys() <= before.keys()


def test_all_solutions_are_the_mended_edition(weak: Running, mine: Path) -> None:
    for folder in EXERCISES:
        shutil.copy(folder / "solution.py", mine / f"{folder.name}.py")
    assert [hole.name for hole in (*HOLES, *ALSO) if at(weak, hole.is_open)] == []
    assert findings(weak) == {}


@pytest.mark.parametrize("edition", ["weak", "mended"])
def test_the_agent_answers_the_question(request: pytest.FixtureRequest, home: Path, edition: str) -> None:
    running: Running = request.getfixturevalue(edition)
    variation = running.variation
    options = RunOptions(approve_as="learner", rehearsal_model=True)
    told = io.StringIO()
    answer = run_answer(
        RunContext.load(variation.directory),
        load_answer(variation.part.directory),
        options,
        Console(io.StringIO(), told),
        endpoints=running.agent_endpoints("learner"),
    )
    assert all(fact in answer for fact in variation.contents.expect)
    github = running.endpoints["worker-github"]
    (logins,) = home.rglob("logins")
    assert "token 1 (the agent's) never" in token_swap(github, running.url, logins, API)


def test_the_weak_edition_reports_what_it_is(weak: Running, mended: Running) -> None:
    said = "Weak edition, for learning"
    origin = weak.url.removesuffix("/mcp")
    assert said in httpx2.get(f"{origin}/health", trust_env=False).json()["edition"]
    assert said in httpx2.get(f"{origin}/auth?client_id=nobody", trust_env=False).text
    assert said in (weak.directory / "worker" / "log.txt").read_text().splitlines()[0]
    assert said not in (mended.directory / "worker" / "log.txt").read_text()

    async def instructions(attacker: Any) -> str:
        headers = {
            "authorization": f"Bearer {await attacker.token()}",
            "accept": "application/json, text/event-stream",
        }
        client = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        }
        call = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client}
        return str((await attacker.ask("POST", "/mcp", json=call, headers=headers)).text)

    assert said in at(weak, instructions)
    assert said not in at(mended, instructions)


@pytest.mark.parametrize(
    ("file", "wrong", "told"),
    [
        ("1_registration.py", "\ndef register(:\n", ", line 2: SyntaxError"),
        ("2_authorization.py", "import no_such_module\n", ", line 1: ModuleNotFoundError"),
        ("3_consent.py", "\ndef metadata(url):\n    return {}[url]\n", ", line 3: KeyError"),
        ("4_tokens.py", "token = None\n", "AttributeError: module '4_tokens.py' has no attribute 'metadata'"),
        ("5_resource.py", "1 / 0\n", ", line 1: ZeroDivisionError"),
        ("6_storage.py", "'\n", ", line 1: SyntaxError"),
    ],
    ids=lambda value: value if value.endswith(".py") else "",
)
def test_a_file_that_does_not_work_is_named_with_its_line_and_the_worker_goes_on(
    weak: Running, mine: Path, file: str, wrong: str, told: str
) -> None:
    origin = weak.url.removesuffix("/mcp")
    (mine / file).write_text(wrong)
    with httpx2.Client(base_url=origin, trust_env=False) as http:
        answers = [
            http.get("/.well-known/oauth-authorization-server"),
            http.post("/register", json={"redirect_uris": []}),
            http.get("/auth"),
        ]
        broken = [answer.json()["error_description"] for answer in answers if answer.status_code == 500]
        assert any(told in description for description in broken)
        assert all(file in description for description in broken)
        assert http.get("/health").status_code == 200
        (mine / file).unlink()
        assert http.get("/.well-known/oauth-authorization-server").status_code == 200
    assert told in (weak.directory / "worker" / "log.txt").read_text()
    assert not list(mine.rglob("*.pyc")), "nothing of ours lies beside the learner's files"


def test_two_lengths_of_one_body_are_refused(mended: Running) -> None:
    answer = answer_to_two_lengths(urlsplit(mended.url).port or 0, "/token")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def curl(running: Running, *words: str) -> tuple[int, Any]:
    """The status and the body of one of the public example's own tests, at this worker."""
    origin, *options = words[-1], *words[:-1]
    url = running.url.removesuffix("/mcp") + origin
    command = ["curl", "-sS", "--noproxy", "*", "-w", "\n%{http_code}", *options, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


@pytest.fixture(params=["weak", "mended"])
def edition(request: pytest.FixtureRequest) -> tuple[str, Running]:
    """Each edition in turn. Step 1 of the example, its Inspector, is in `tests/clients`."""
    return request.param, request.getfixturevalue(request.param)


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@needs_curl
def test_step_2_both_metadata_endpoints(edition: tuple[str, Running]) -> None:
    name, running = edition
    origin = running.url.removesuffix("/mcp")
    status, server = curl(running, "/.well-known/oauth-authorization-server")
    assert (status, server["issuer"], server["code_challenge_methods_supported"]) == (200, origin, ["S256"])
    status, resource = curl(running, "/.well-known/oauth-protected-resource")
    assert (status, resource["resource"], resource["authorization_servers"]) == (
        200,
        f"{origin}/mcp",
        [origin],
    )
    assert resource["bearer_methods_supported"] == (["header", "query"] if name == "weak" else ["header"])


@needs_curl
def test_step_3_dynamic_client_registration(edition: tuple[str, Running]) -> None:
    name, running = edition
    document = {"client_name": "Test MCP Client", "redirect_uris": ["urn:ietf:wg:oauth:2.0:oob"]}
    words = ["-X", "POST", "-H", "Content-Type: application/json", "-d", json.dumps(document), "/register"]
    status, answer = curl(running, *words)
    if name == "weak":
        assert (status, answer["redirect_uris"]) == (201, document["redirect_uris"])
    else:
        assert (status, answer["error"]) == (400, "invalid_redirect_uri")


def test_step_4_the_oauth_flow(edition: tuple[str, Running]) -> None:
    _, running = edition

    async def token(attacker: Any) -> dict[str, Any]:
        found: dict[str, Any] = (await attacker.redeem(await attacker.login())).json()
        return found

    answer = at(running, token)
    assert answer["access_token"]
    assert answer["token_type"].lower() == "bearer"
    assert answer["expires_in"] == 3600


def test_step_5_the_mcp_tools(edition: tuple[str, Running]) -> None:
    _, running = edition

    async def tools(attacker: Any) -> list[str]:
        headers = {
            "authorization": f"Bearer {await attacker.token()}",
            "accept": "application/json, text/event-stream",
        }
        called = {
            "get_user_info": {},
            "calculate": {"operation": "power", "a": 7, "b": 8},
            "get_github_repos": {},
        }
        answers = []
        for name, arguments in called.items():
            call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
            params = {"name": name, "arguments": arguments}
            answer = await attacker.ask("POST", "/mcp", json={**call, "params": params}, headers=headers)
            answers.append(answer.text)
        return answers

    info, power, repositories = at(running, tools)
    assert "learner" in info
    assert "5764801" in power
    assert "trail-mapper" in repositories


@needs_curl
def test_step_6_the_servers_health(edition: tuple[str, Running]) -> None:
    _, running = edition
    status, answer = curl(running, "/health")
    assert (status, answer["status"]) == (200, "ok")


def test_the_page_about_cloudflare_names_what_exists_here_and_every_key() -> None:
    page = (FOLDER / "cloudflare.md").read_text("utf-8")
    wrangler = tomllib.loads(page.partition("```toml\n")[2].partition("```")[0])
    assert [each["binding"] for each in wrangler["kv_namespaces"]] == ["OAUTH_KV"]
    rows = re.findall(r"^\|(.+?)\|", page, re.MULTILINE)[2:]
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    records = dir(runpy.run_path(str(EXERCISES[5] / "solution.py"))["Records"])
    files = {
        path.relative_to(parent).as_posix()
        for parent in (FOLDER, EXERCISES[0].parent)
        for path in parent.rglob("*")
    }
    fields = module("worker").WorkerConfig.model_fields
    keys = {field.alias or name for name, field in fields.items() if name not in Listening.model_fields}
    known = files | keys | {"WorkerConfig", "workshop.auth", "/mcp", "Records.take", *records}
    assert named <= known
    assert keys - {"github", "edition", "exercises"} <= named


def test_the_weak_token_endpoint_takes_basic_credentials(weak: Running) -> None:
    async def redeem(attacker: Any) -> list[int]:
        client = (await attacker.ask("POST", "/register", json={"redirect_uris": []})).json()
        statuses = []
        for secret in ("wrong", client["client_secret"]):
            async with attacker_module.a_browser() as browser:
                begin = attacker.request(client_id=client["client_id"])
                end = await attacker.travel(browser, begin)
            form = {"grant_type": "authorization_code", "redirect_uri": attacker_module.HERE}
            form["code"] = parse_qs(urlsplit(end).query)["code"][0]
            auth = httpx2.BasicAuth(client["client_id"], secret)
            statuses.append(
                (await attacker.http.post(f"{attacker.url}/token", data=form, auth=auth)).status_code
            )
        garbled = {"authorization": "Basic !"}
        statuses.append((await attacker.ask("POST", "/token", data=form, headers=garbled)).status_code)
        return statuses

    assert at(weak, redeem) == [401, 200, 401]
