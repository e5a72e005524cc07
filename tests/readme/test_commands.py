"""Every command of the README, in its order, in one room on the embedded backend."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import WORKLOADS, Room
from tests.readme.page import ROOT, Command, commands
from workshop.core.ports import free_port
from workshop.lab import process

TIMEOUT = 100
CLUSTER = "needs Docker, a cluster or a bundle: planned with `--dry-run` by"
FIGURES = "measures for a minute, and only on an idle machine:"
STAGE = "needs a terminal or takes its time: done by"
LONGER = "takes longer than a page of commands may: run and looked into by"
# What is not run here as it stands: why, the file that does as much as can be done, and what that file has.
ELSEWHERE = {
    "pip install uv && uv run workshop rehearse": (
        STAGE,
        "tests/e2e/test_rehearse.py",
        'room.run("rehearse"',
    ),
    "uv run pytest": ("this is it: run by", ".ci/run", "uv run pytest"),
    "uv run workshop rehearse": (STAGE, "tests/e2e/test_rehearse.py", 'room.run("rehearse"'),
    "uv run workshop demo play tutorial": (STAGE, "tests/course/demo/test_demo.py", "on_stage_space_goes_on"),
    "uv run workshop demo record tutorial tutorial.cast": (
        STAGE,
        "tests/course/demo/test_demo.py",
        "asciicast",
    ),
    "uv run workshop demo verify tutorial": (STAGE, "tests/course/demo/test_demo.py", "golden_text_says"),
    "uv run workshop up --backend kind": (CLUSTER, "tests/cli/test_backends.py", "dry_run_prints"),
    "uv run workshop part 4 apply": (CLUSTER, "tests/e2e/kind/test_course.py", '"apply"'),
    "uv run workshop bundle create room.bundle": (CLUSTER, "tests/lab/bundle/conftest.py", "create"),
    "uv run workshop bundle verify room.bundle": (CLUSTER, "tests/cli/test_bundle.py", '"verify"'),
    "uv run workshop up --backend kind --bundle room.bundle": (
        CLUSTER,
        "tests/lab/bundle/test_bundle.py",
        "open",
    ),
    "uv run workshop part 4 compare": (LONGER, "tests/audit/compare/test_comparison.py", "compare("),
    **{
        f"uv run workshop part 4 run --variation {name} --approve-as learner": (
            LONGER,
            "tests/e2e/test_variations.py",
            f'"{name}"',
        )
        for name in ("worker", "elicitation", "resource-server", "prefix-gateway")
    },
    "uv run workshop part 4 check --variation resource-server": (
        LONGER,
        "tests/e2e/test_variations.py",
        '"check", "--variation", name',
    ),
    "uv run pytest -m kind": (CLUSTER, "tests/e2e/kind/test_course.py", "pytest.mark.kind"),
    "WORKSHOP_FUZZ=thorough uv run pytest tests/fuzz --timeout 7200": (
        "takes hours: its short form is",
        "tests/fuzz/effort.py",
        "WORKSHOP_FUZZ",
    ),
    "uv run pytest tests/toolhive_real": (
        "asks programs that are not installed by default, and skips: this very suite runs",
        "tests/toolhive_real/test_differences.py",
        "def test_it_answers",
    ),
    "uv run python -m tests.pictures.terminal": (STAGE, "tests/pictures/test_pictures.py", "terminal.draw"),
    "uv run python -m tests.pictures.flight_recorder": (
        STAGE,
        "tests/pictures/test_pictures.py",
        "photograph",
    ),
    "uv run python -m tests.benchmarks.start_up": (FIGURES, "tests/benchmarks/start_up.py", "def main"),
    "uv run python -m tests.benchmarks.flow": (FIGURES, "tests/benchmarks/flow.py", "def main"),
    "uv run python -m tests.benchmarks.cluster": (
        "measures on a cluster of its own: what it says without one is looked into by",
        "tests/test_benchmarks.py",
        "says_what_it_lacks",
    ),
    "uv run --group benchmark python -m tests.benchmarks.gateway": (
        "needs packages that are not installed by default: looked after by",
        "tests/test_benchmarks.py",
        "gateway",
    ),
}
# Judges the machine it runs on, which may be right either way.
DOCTOR = "uv run workshop doctor"
HERE = [command for command in commands() if command.text not in ELSEWHERE]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """One room for all commands, with a context for the cluster that is only planned."""
    home = tmp_path_factory.mktemp("readme")
    (home / "here").mkdir()
    (home / "here" / ".env").touch(mode=0o600)
    made = Room(home / "state", home / "here", {name: free_port() for name in WORKLOADS})
    yield made
    made.run("teardown")
    for left in made.processes():
        process.end(left)


def argv(command: Command, room: Room) -> list[str]:
    """The command as this room runs it: this Python, its ports, and clusters planned only."""
    program, *words = command.words
    words = [re.sub(r"localhost:8080", f"localhost:{room.ports['github-remote']}", word) for word in words]
    if words[:1] == ["up"] and "--backend" in words and "--dry-run" not in words:
        words.append("--dry-run")
    if program == "python":
        return [sys.executable, *(str(ROOT / word) for word in words)]
    assert program == "workshop"
    return [sys.executable, "-m", "workshop", *words]


@pytest.mark.parametrize("command", HERE, ids=[f"{n:02} {command.text}" for n, command in enumerate(HERE)])
def test_a_command_of_the_readme_does_what_it_says(command: Command, room: Room, contexts: Path) -> None:
    ports = " ".join(f"{name}={port}" for name, port in room.ports.items())
    done = subprocess.run(
        argv(command, room),
        cwd=room.folder,
        env={**room.environment, "WORKSHOP_PORT": ports, "KUBECONFIG": str(contexts)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    allowed = {0, 3} if command.text == DOCTOR else {command.exit_code}
    assert done.returncode in allowed, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig with the README's context; its server is never asked."""
    path = tmp_path_factory.mktemp("kube") / "config"
    path.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: ''\nusers: [{name: me, user: {}}]\n"
        "clusters: [{name: room, cluster: {server: 'https://localhost:1'}}]\n"
        "contexts: [{name: room, context: {cluster: room, user: me}}]\n"
    )
    return path


@pytest.mark.parametrize("text", ELSEWHERE)
def test_what_is_not_run_here_is_done_elsewhere(text: str) -> None:
    assert text in [command.text for command in commands()], "the README has it no more"
    _, file, has = ELSEWHERE[text]
    assert has in (ROOT / file).read_text(encoding="utf-8")


def test_the_commands_left_files_only_where_they_say(room: Room) -> None:
    names = {path.name for path in room.folder.iterdir() if not path.name.startswith(".")}
    written = {"workshop-report.zip", "trace.html", "trace.json", "compare.html"}
    assert names <= {"workshop-exercises"} | written
