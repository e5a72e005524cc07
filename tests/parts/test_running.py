"""Each part's main.py runs alone: as a process for the default question, in this process for the others."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.environment import run_forked
from workshop.core.instance import Instance, Record

if TYPE_CHECKING:
    from tests.parts.conftest import RunningServer

ANSWER = "trail-mapper has the most open issues (4); its newest is #42: GPX export drops the last waypoint\n"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a part's main.py in an empty directory: no `.env` of the person who tests, and no instance."""
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path / "home"))
    (tmp_path / ".env").write_text("", encoding="utf-8")

    def run(folder: str, *options: str) -> subprocess.CompletedProcess[str]:
        main, home = str(parts / folder / "main.py"), os.environ["WORKSHOP_HOME"]
        return run_forked(main, *options, folder=tmp_path, env={"WORKSHOP_HOME": home, "COLUMNS": "200"})

    return run


@pytest.fixture
def run_here(
    run: Run,
    parts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Run]:
    """The same in this process, for what does not depend on the process: a start costs more than the run."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def run_here(folder: str, *options: str) -> subprocess.CompletedProcess[str]:
        argv = [str(parts / folder / "main.py"), *options]
        with pytest.raises(SystemExit) as ended:
            run_as_main(argv)
        code, captured = ended.value.code, capsys.readouterr()
        assert isinstance(code, int)
        return subprocess.CompletedProcess(argv, code, captured.out, captured.err)

    yield run_here
    for number, handler in handlers.items():
        signal.signal(number, handler)


def run_as_main(argv: list[str]) -> None:
    """Run a program as Python's command line does, and forget the modules beside it: parts share names."""
    folder, before = str(Path(argv[0]).parent), set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", argv)
        patch.syspath_prepend(folder)
        try:
            runpy.run_path(argv[0], run_name="__main__")
        finally:
            for name in set(sys.modules) - before:
                if folder in str(getattr(sys.modules[name], "__file__", "")):
                    del sys.modules[name]


@pytest.mark.parametrize("folder", ["01_agent_loop", "02_local_mcp"])
def test_a_local_part_answers_the_default_question(run: Run, folder: str) -> None:
    ended = run(folder)
    assert (ended.returncode, ended.stdout) == (0, ANSWER), ended.stderr
    assert "rehearsal model (no LLM)" in ended.stderr


@pytest.mark.parametrize("folder", ["01_agent_loop", "02_local_mcp"])
@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Which of my repositories has the most open issues?", "trail-mapper has the most open issues: 4\n"),
        ("How many repositories do I have?", "You have 4 repositories\n"),
        ("Read the newest issue of my top repository", "#42 of trail-mapper: I planned the ridge loop"),
    ],
)
def test_the_questions_of_the_readme_have_answers(
    run_here: Run, folder: str, question: str, answer: str
) -> None:
    ended = run_here(folder, "--question", question)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(answer)


def test_part_3_asks_the_server_where_up_has_put_it(run: Run, http_server: RunningServer) -> None:
    up("workshop", http_server.port)
    ended = run("03_toolhive")
    assert (ended.returncode, ended.stdout) == (0, ANSWER), ended.stderr


@pytest.mark.parametrize("folder", ["03_toolhive", "04_remote_oauth"])
def test_a_part_that_needs_a_server_names_what_to_do_without_one(run_here: Run, folder: str) -> None:
    unused = "http://localhost:1/mcp"
    endpoints = {"workshop": unused, "github-remote": unused}
    Instance.load().save(Record("embedded", "practice", endpoints=endpoints))
    ended = run_here(folder)
    assert ended.returncode == 1
    assert f"Nothing answers at {unused}" in ended.stderr
    assert "`workshop up`" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_part_3_shows_the_tools_that_its_tool_config_allows(run_here: Run, part_3: int) -> None:
    up("workshop", part_3)
    ended = run_here("03_toolhive", "--question", "Read the newest issue of my top repository")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("#42 of trail-mapper: I planned the ridge loop")
    assert "4 tools: list_repositories, list_issues, get_issue, calculate" in ended.stderr


def test_part_4_logs_in_once_and_then_answers_without_a_person(
    run: Run, run_here: Run, part_4: dict[int, int]
) -> None:
    up("github-remote", part_4[8080])
    first = run("04_remote_oauth", "--approve-as", "learner")
    assert (first.returncode, first.stdout) == (0, ANSWER), first.stderr
    assert "approving as practice user learner" in first.stderr
    second = run_here("04_remote_oauth", "--no-browser")
    assert (second.returncode, second.stdout) == (0, ANSWER), second.stderr
    assert "approve" not in second.stderr.lower()


def test_part_4_s_other_questions_have_answers(run_here: Run, part_4: dict[int, int]) -> None:
    up("github-remote", part_4[8080])
    for question, answer in {
        "Who am I?": "You are mentor\n",
        "How many repositories do I have?": "You have 3 repositories\n",
        "Which of my repositories has the most open issues?": "first-tool-call has the most open issues: 2\n",
    }.items():
        ended = run_here("04_remote_oauth", "--approve-as", "mentor", "--question", question)
        assert (ended.returncode, ended.stdout) == (0, answer), ended.stderr


def up(name: str, port: int) -> None:
    """Write down that `name` runs at `port`, as `workshop up` would."""
    Instance.load().save(Record("embedded", "practice", endpoints={name: f"http://localhost:{port}/mcp"}))
