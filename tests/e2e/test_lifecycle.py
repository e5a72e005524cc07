"""Up, up again, something dies, something changes, Ctrl-C, teardown: what runs is always known."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import pexpect
import psutil
import pytest

from tests.environment import Room
from workshop.core.paths import parts_dir
from workshop.core.ports import free_port

ALL = {"github-remote", "practice-github", "workshop", "workshop-0"}


def end(pid: int, how: signal.Signals = signal.SIGKILL) -> None:
    process = psutil.Process(pid)
    os.kill(pid, how)
    process.wait(10)


def test_up_says_what_it_chose_and_a_second_up_what_is_already_there(room: Room) -> None:
    first = room.up()
    assert "Embedded backend" in first.stdout
    assert "practice GitHub (no GITHUB_OAUTH_CLIENT_SECRET in `.env`)" in first.stdout
    before = room.states()
    assert set(before) == ALL
    second = room.up()
    assert room.states() == before
    assert "Already running: " in second.stdout
    assert "Start " not in second.stderr


def test_status_tells_every_workload_and_teardown_ends_them_all(room: Room) -> None:
    room.up()
    report = json.loads(room.run("status", "--json").stdout)["data"]
    assert {item["name"]: item["state"] for item in report["workloads"]} == dict.fromkeys(ALL, "running")
    assert len(room.processes()) == len(ALL)
    assert room.run("teardown").returncode == 0
    assert room.processes() == []
    assert not room.directory.exists()
    again = room.run("teardown")
    assert again.returncode == 0
    assert again.stdout == "Nothing was running\n"


def test_a_dead_workload_is_noticed_and_started_again_alone(room: Room) -> None:
    room.up()
    before = room.states()
    end(before["workshop"].pid)
    report = json.loads(room.run("status", "--json").stdout)["data"]
    assert {item["name"] for item in report["workloads"] if item["state"] == "stopped"} == {"workshop"}
    done = room.run("part", "3", "run", "--model", "rehearsal")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("trail-mapper")
    after = room.states()
    assert after["workshop"].pid != before["workshop"].pid
    assert {name: after[name] for name in ALL - {"workshop"}} == {
        name: before[name] for name in ALL - {"workshop"}
    }


def test_a_hung_workload_is_replaced(room: Room) -> None:
    room.up()
    hung = room.states()["practice-github"]
    os.kill(hung.pid, signal.SIGSTOP)
    room.up()
    assert room.states()["practice-github"].pid != hung.pid
    assert hung.pid not in [process.pid for process in room.processes()]


def test_another_port_restarts_only_what_it_concerns(room: Room) -> None:
    room.up()
    before = room.states()
    port = room.ports["workshop"] = free_port()
    room.up()
    after = room.states()
    assert after["workshop"].port == port
    assert {name for name in ALL if after[name] != before[name]} == {"workshop"}
    assert room.run("part", "3", "run", "--model", "rehearsal").returncode == 0


@pytest.mark.parametrize("name", ["github-remote", "practice-github", "workshop"])
def test_a_taken_port_is_refused_with_its_owner_and_the_option(room: Room, name: str) -> None:
    with socket.create_server(("127.0.0.1", room.ports[name])):
        done = room.run("up", *room.port_options)
    assert done.returncode == 3
    assert f"Port {room.ports[name]} is already in use, and `{name}` wants it" in done.stderr
    assert f"pid {os.getpid()}" in done.stderr
    assert f"--port {name}=PORT" in done.stderr
    assert room.processes() == []


def test_an_up_that_fails_half_way_stops_what_it_had_started(room: Room) -> None:
    room.up()
    room.run("teardown")
    # The gateway cannot start with a signing key that is none; the other workloads can.
    key = room.directory / "secrets" / "github-remote-signing-key" / "signing-key.pem"
    key.parent.mkdir(parents=True)
    key.write_text("no key")
    done = room.run("up", *room.port_options)
    assert done.returncode == 1
    assert "`github-remote` ended while it was starting" in done.stderr
    assert "Traceback" not in done.stderr
    assert room.processes() == []
    assert room.run("status").stdout.startswith("Nothing is up\n")


def test_ctrl_c_during_up_leaves_no_process(room: Room) -> None:
    child = room.spawn("up", *room.port_options)
    child.expect("Start ")
    child.sendintr()
    child.expect("Stopped")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert room.processes() == []
    assert room.run("status").stdout.startswith("Nothing is up\n")


def test_teardown_finds_a_process_whose_state_file_was_lost(room: Room) -> None:
    room.up()
    for name in ("workshop-0", "practice-github"):
        (room.directory / "workloads" / name / "state.json").unlink()
    done = room.run("teardown")
    assert done.returncode == 0
    assert room.processes() == []


def test_a_workload_ends_itself_when_its_state_directory_is_deleted(room: Room) -> None:
    room.up()
    servers = [psutil.Process(state.pid) for name, state in room.states().items() if name != "workshop-0"]
    shutil.rmtree(room.directory)
    gone, alive = psutil.wait_procs(servers, timeout=20)
    assert len(gone) == len(servers)
    assert alive == []


def test_each_part_runs_alone_against_what_up_started(room: Room) -> None:
    room.up()
    for main in sorted(parts_dir().glob("*/main.py")):
        options = ["--approve-as", "learner"] if "oauth" in str(main) else []
        done = subprocess.run(
            [sys.executable, str(main), *options],
            cwd=room.folder,
            env=room.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "GPX export drops the last waypoint" in done.stdout
