"""`up --until operator` stops before the parts, and `part N by-hand` prints what a person types after it."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Workshop, workshop
from tests.lab.cluster.bench import Bench, running_bench
from workshop.core.settings import Settings
from workshop.course import environment
from workshop.course.lessons import find_lessons
from workshop.lab.base import HandStep

__all__ = ["workshop"]

PART_3, PART_4 = (lesson for lesson in find_lessons() if lesson.number in (3, 4))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A cluster with the operator, and without the parts."""
    with running_bench(tmp_path_factory.mktemp("by-hand")) as made:
        made.first = made.up(until="operator")
        yield made


def steps(number: int) -> list[HandStep]:
    lesson = PART_3 if number == 3 else PART_4
    return list(environment.by_hand(lesson, Settings()))


def test_up_stops_when_the_operator_runs(bench: Bench) -> None:
    assert bench.first is not None
    assert (bench.first.endpoints, bench.first.started) == ({}, [])
    did = {step.name for step in bench.first.steps}
    assert {"operator-ready", "load-workshop"} <= did
    assert not {name for name in did if name.startswith(("apply", "secrets", "forward", "reach", "prune"))}
    assert bench.alive() == set()


def test_the_commands_come_in_the_order_in_which_they_work(bench: Bench) -> None:
    del bench
    verbs = [next(word for word in VERBS if f" {word} " in step.command) for step in steps(4)]
    assert list(dict.fromkeys(verbs)) == VERBS


VERBS = ["create", "label", "apply", "wait", "port-forward"]


def test_part_4_needs_three_secrets_and_the_practice_github_s_own(bench: Bench) -> None:
    del bench
    made = [step.command.split(" generic ")[1].split()[0] for step in steps(4) if " create " in step.command]
    assert made == [
        "github-oauth-client",
        "github-remote-hmac",
        "github-remote-signing-key",
        "practice-github",
    ]


def test_a_secret_is_read_from_a_private_file_and_its_value_is_not_in_the_command(bench: Bench) -> None:
    del bench
    given = [word for step in steps(4) for word in shlex.split(step.command) if "--from-file=" in word]
    assert len(given) >= 4
    files = [Path(word.rpartition("=")[2]) for word in given]
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)
    shown = "\n".join(step.command for step in steps(4))
    assert not [file for file in files if file.read_text("utf-8") in shown]


@pytest.mark.parametrize("number", [3, 4])
def test_every_command_is_kubectl_s_in_this_cluster_and_has_a_reason(bench: Bench, number: int) -> None:
    del bench
    for step in steps(number):
        assert re.match(r"kubectl .*(--namespace|--filename) ", step.command), step
        assert step.reason.endswith("."), step


def test_a_plain_up_goes_on_from_there(tmp_path: Path) -> None:
    with running_bench(tmp_path) as made:
        made.up(until="operator")
        report = made.up()
        assert set(report.endpoints) >= {"workshop", "github-remote"}


def test_the_embedded_backend_has_no_operator_to_stop_at(workshop: Workshop) -> None:
    done = workshop("up", "--backend", "embedded", "--until", "operator")
    assert done.code == 2
    assert "It has no operator" in done.err
