"""A detached process is started, recognised, probed and ended, and never confused with another."""

import json
import os
import re
import shutil
import signal
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tests.lab.conftest import PROGRAM, MakeProgram
from workshop.core.errors import DeadlineError, WorkshopError
from workshop.lab import process


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "workloads"


def test_a_started_process_is_ready_known_again_and_ended(make_program: MakeProgram, directory: Path) -> None:
    state = process.start(make_program(), directory)
    process.wait_ready(state, 60)
    assert process.read_states(directory) == {"web": state}
    assert Path(state.log).read_text() == "serving\n"
    assert process.stop(state)
    assert process.find(state) is None
    assert not process.stop(state), "a second stop finds nothing"


def test_it_runs_in_a_session_of_its_own_so_ctrl_c_does_not_reach_it(
    make_program: MakeProgram, directory: Path
) -> None:
    state = process.start(make_program(), directory)
    assert os.getsid(state.pid) == state.pid != os.getsid(0)


def test_a_killed_process_is_noticed(make_program: MakeProgram, directory: Path) -> None:
    state = process.start(make_program(), directory)
    process.wait_ready(state, 60)
    os.kill(state.pid, signal.SIGKILL)
    psutil.Process(state.pid).wait(60)
    assert process.find(state) is None
    assert not process.is_healthy(state)


def test_a_reused_pid_is_not_ours_and_is_left_alone(make_program: MakeProgram, directory: Path) -> None:
    state = process.start(make_program(), directory)
    stranger = replace(state, created=state.created - 3600)
    assert process.find(stranger) is None
    assert not process.stop(stranger)
    assert process.find(state) is not None


def test_a_stranger_that_answers_on_the_port_is_not_healthy(
    make_program: MakeProgram, directory: Path
) -> None:
    answering = process.start(make_program("stranger"), directory)
    process.wait_ready(answering, 60)
    idle = process.start(make_program("idle", "import time; time.sleep(60)"), directory)
    assert not process.is_healthy(replace(idle, port=answering.port))


def test_a_process_that_answers_with_an_error_is_not_healthy(
    make_program: MakeProgram, directory: Path
) -> None:
    state = process.start(make_program(status=503), directory)
    with pytest.raises(DeadlineError, match="was not ready within 1 s"):
        process.wait_ready(state, 1)


def test_a_process_that_ends_while_starting_is_reported_with_its_last_words(
    make_program: MakeProgram, directory: Path
) -> None:
    state = process.start(make_program(program="print('first'); raise SystemExit('the reason')"), directory)
    with pytest.raises(WorkshopError) as caught:
        process.wait_ready(state, 60)
    assert "exited while it was starting" in caught.value.what
    assert caught.value.why == "first / the reason"
    assert state.log in caught.value.hint


@pytest.mark.parametrize(
    ("free", "why"), [(0, "and the disk with `.*log.txt` is full$"), (1 << 30, "^Its log is empty$")]
)
def test_a_process_that_ends_without_a_word_may_have_met_a_full_disk(
    make_program: MakeProgram, directory: Path, monkeypatch: pytest.MonkeyPatch, free: int, why: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    state = process.start(make_program(program="raise SystemExit(1)"), directory)
    with pytest.raises(WorkshopError) as caught:
        process.wait_ready(state, 60)
    assert re.search(why, caught.value.why)
    assert ("Free some space" in caught.value.hint) == (free == 0)


def test_a_process_that_ignores_terminate_is_killed(make_program: MakeProgram, directory: Path) -> None:
    ignoring = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + PROGRAM
    state = process.start(make_program(program=ignoring), directory)
    process.wait_ready(state, 60)
    assert process.stop(state, seconds=0.2)
    assert process.find(state) is None


def test_a_suspended_process_is_ended_too(make_program: MakeProgram, directory: Path) -> None:
    state = process.start(make_program(), directory)
    process.wait_ready(state, 60)
    os.kill(state.pid, signal.SIGSTOP)
    assert process.stop(state)


def test_a_state_that_cannot_be_written_leaves_no_process(
    make_program: MakeProgram, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "write_private", interrupted)
    with pytest.raises(KeyboardInterrupt):
        process.start(make_program(), directory)
    for stray in process.strays(directory):
        stray.wait(60)
    assert list(process.strays(directory)) == []


def test_a_process_without_a_state_file_is_found_by_its_arguments(
    make_program: MakeProgram, directory: Path
) -> None:
    state = process.start(make_program(), directory)
    process.wait_ready(state, 60)  # Linux shows no arguments until the program has been loaded
    process.state_path(directory, "web").unlink()
    assert [stray.pid for stray in process.strays(directory)] == [state.pid]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"name": "web"}'])
def test_a_damaged_state_file_counts_as_absent(directory: Path, text: str) -> None:
    path = process.state_path(directory, "web")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert process.read_states(directory) == {}


def test_the_shells_secrets_do_not_reach_a_workload(
    make_program: MakeProgram, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "from-the-shell")
    state = process.start(make_program(), directory)
    process.wait_ready(state, 60)
    assert "OPENAI_API_KEY" not in psutil.Process(state.pid).environ()
    assert "from-the-shell" not in json.dumps(asdict(state))
