"""The forward as the backends run it: a detached process that takes kubectl with it, however it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.lab.forward.conftest import Bench, until
from tests.lab.tools.waiting import gone
from workshop.core.ports import bind_loopback
from workshop.lab import process
from workshop.lab.base import Program
from workshop.lab.process import ProcessState

pytestmark = pytest.mark.anyio


def start(bench: Bench) -> ProcessState:
    argv = (sys.executable, "-m", "workshop.lab.forward", "--config", str(bench.config))
    program = Program("github-remote", argv, bench.port, "/mcp")
    state = process.start(program, bench.folder / "workloads")
    process.wait_ready(state, 60)
    return state


def family(state: ProcessState) -> list[int]:
    return [child.pid for child in psutil.Process(state.pid).children(recursive=True)]


async def test_it_is_a_workload_like_the_others(bench: Bench) -> None:
    state = start(bench)
    assert process.is_healthy(state)
    assert [stray.pid for stray in process.strays(bench.folder)] != []
    children = family(state)
    assert bench.calls()[-1][0] in children
    assert process.stop(state)
    assert gone(bench.calls()[-1][0])
    await until(lambda: all(map(gone, children)))
    assert not process.is_healthy(state)


async def test_it_takes_over_a_port_that_was_bound_for_it(bench: Bench) -> None:
    sockets = bind_loopback(bench.port)
    argv = (sys.executable, "-m", "workshop.lab.forward", "--config", str(bench.config))
    program = Program("github-remote", argv, bench.port, "/mcp")
    state = process.start(program, bench.folder / "workloads", sockets)
    for sock in sockets:
        sock.close()
    process.wait_ready(state, 60)
    assert process.stop(state)


async def test_an_unwell_service_is_not_healthy(bench: Bench) -> None:
    state = start(bench)
    bench.service.status = 500
    assert not process.is_healthy(state)
    process.stop(state)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_kubectl_ends_with_its_supervisor_whatever_ended_it(bench: Bench, number: int) -> None:
    state = start(bench)
    children = family(state)
    assert len(children) > 1
    os.kill(state.pid, number)
    await until(lambda: all(map(gone, children)))
    await until(lambda: process.find(state) is None)


async def test_a_suspended_kubectl_ends_too(bench: Bench) -> None:
    state = start(bench)
    kubectl = bench.kubectl()
    kubectl.suspend()
    os.kill(state.pid, signal.SIGKILL)
    await until(lambda: gone(kubectl.pid))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_kubectl_ends_even_when_its_guard_was_killed_before(bench: Bench, number: int) -> None:
    state = start(bench)
    children = family(state)
    guard = bench.kubectl().parent()
    assert guard is not None
    guard.kill()
    os.kill(state.pid, number)
    await until(lambda: all(map(gone, children)))


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"port": 0}, 2, "`port` is not a whole number from 1 to 65535"),
        ({"port": True}, 2, "`port` is not a whole number"),
        ({"target": None}, 2, "`target` is missing"),
        ({"target": 5}, 2, "`target` is not text"),
        ({"env": {}}, 2, "`env` is unknown"),
        ({"colour": "red"}, 2, "`colour` is unknown"),
        ({"kubectl": "/absent/kubectl"}, 3, "`kubectl` was not found on your PATH"),
    ],
)
def test_what_cannot_work_is_reported_before_anything_starts(
    bench: Bench, changes: dict[str, object], code: int, told: str
) -> None:
    bench.write(**changes)
    assert told in run(bench.config, code)
    assert bench.calls() == []


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_damaged_configuration_is_reported_with_its_path(bench: Bench, text: str) -> None:
    bench.config.write_text(text)
    assert str(bench.config) in run(bench.config, 2)


def test_a_taken_port_is_reported_with_its_owner(bench: Bench) -> None:
    taken = bind_loopback(bench.port)
    assert f"Port {bench.port} is already in use" in run(bench.config, 3)
    for sock in taken:
        sock.close()


def run(config: Path, code: int) -> str:
    argv = [sys.executable, "-m", "workshop.lab.forward", "--config", str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == code, done.stderr
    return done.stderr
