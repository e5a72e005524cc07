"""The worker in both editions: thirteen holes, what closes them, and the same answer to the same question."""

import asyncio
import importlib
import io
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.raw_server import answer_to_two_lengths
from workshop.agent.part import RunContext
from workshop.agent.run import RunOptions, load_answer, run_answer
from workshop.audit.probe.report import probe
from workshop.core.console import Console
from workshop.core.paths import parts_dir
from workshop.course.lessons import find_variation
from workshop.course.practice_record import API, token_swap
from workshop.course.variation_run import Running, variation_running

FOLDER = parts_dir() / "04_remote_oauth" / "variations" / "worker"
EXERCISES = sorted((FOLDER / "exercises").glob("[0-9]_*"))


def module(name: str) -> Any:
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


HOLES, ALSO = module("holes").HOLES, module("holes").ALSO
attacking = module("attacker").attacking
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
