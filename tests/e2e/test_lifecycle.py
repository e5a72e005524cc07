"""Up, up again, something dies, something changes, Ctrl-C, teardown: what runs is always known."""

import json
import os
import shutil
import signal
import socket

import pexpect
import psutil
import pytest

from tests.environment import IsolatedInstance
from workshop.core.paths import parts_dir
from workshop.core.ports import free_port

ALL = {"github-remote", "practice-github", "workshop", "workshop-0"}


def end(pid: int, how: signal.Signals = signal.SIGKILL) -> None:
    process = psutil.Process(pid)
    os.kill(pid, how)
    process.wait(60)


def test_up_and_status_report_every_workload_and_teardown_ends_them_all(instance: IsolatedInstance) -> None:
    first = instance.up()
    assert "Embedded backend" in first.stdout
    assert "practice GitHub: no account needed" in first.stdout
    before = instance.states()
    assert set(before) == ALL
    second = instance.up()
    assert instance.states() == before
    assert "Already running: " in second.stdout
    assert "Start " not in second.stderr
    report = json.loads(instance.run("status", "--json").stdout)["data"]
    assert {item["name"]: item["state"] for item in report["workloads"]} == dict.fromkeys(ALL, "running")
    assert len(instance.processes()) == len(ALL)
    assert instance.run("teardown").returncode == 0
    assert instance.processes() == []
    assert not instance.directory.exists()
    again = instance.run("teardown")
    assert again.returncode == 0
    assert again.stdout == "Nothing was running\n"


def test_a_dead_workload_is_noticed_and_started_again_alone(expendable: IsolatedInstance) -> None:
    before = expendable.states()
    end(before["workshop"].pid)
    report = json.loads(expendable.run("status", "--json").stdout)["data"]
    assert {item["name"] for item in report["workloads"] if item["state"] == "stopped"} == {"workshop"}
    done = expendable.run("part", "3", "run", "--model", "rehearsal")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("trail-mapper")
    after = expendable.states()
    assert after["workshop"].pid != before["workshop"].pid
    assert {name: after[name] for name in ALL - {"workshop"}} == {
        name: before[name] for name in ALL - {"workshop"}
    }


def test_a_hung_workload_is_replaced(expendable: IsolatedInstance) -> None:
    hung = expendable.states()["practice-github"]
    os.kill(hung.pid, signal.SIGSTOP)
    expendable.up()
    assert expendable.states()["practice-github"].pid != hung.pid
    assert hung.pid not in [process.pid for process in expendable.processes()]


def test_another_port_restarts_only_what_it_concerns(expendable: IsolatedInstance) -> None:
    before = expendable.states()
    port = expendable.ports["workshop"] = free_port()
    expendable.up()
    after = expendable.states()
    assert after["workshop"].port == port
    assert {name for name in ALL if after[name] != before[name]} == {"workshop"}
    assert expendable.run("part", "3", "run", "--model", "rehearsal").returncode == 0


@pytest.mark.parametrize("name", ["github-remote", "practice-github", "workshop"])
def test_a_taken_port_is_refused_with_its_owner_and_the_option(instance: IsolatedInstance, name: str) -> None:
    with socket.create_server(("127.0.0.1", instance.ports[name])):
        done = instance.run("up", *instance.port_options)
    assert done.returncode == 3
    assert f"Port {instance.ports[name]} is already in use, and `{name}` needs it" in done.stderr
    assert f"pid {os.getpid()}" in done.stderr
    assert f"--port {name}=PORT" in done.stderr
    assert instance.processes() == []


def test_an_up_that_fails_half_way_stops_what_it_had_started(instance: IsolatedInstance) -> None:
    # The gateway cannot start with a signing key that is none; the other workloads can.
    key = instance.directory / "secrets" / "github-remote-signing-key" / "signing-key.pem"
    key.parent.mkdir(parents=True)
    key.write_text("no key")
    done = instance.run("up", *instance.port_options)
    assert done.returncode == 1
    assert "`github-remote` exited while it was starting" in done.stderr
    assert "Traceback" not in done.stderr
    assert instance.processes() == []
    assert instance.run("status").stdout.startswith("Nothing is up\n")


def test_ctrl_c_during_up_leaves_no_process(instance: IsolatedInstance) -> None:
    child = instance.spawn("up", *instance.port_options)
    child.expect("Start ")
    child.sendintr()
    child.expect("Stopped")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert instance.processes() == []
    assert instance.run("status").stdout.startswith("Nothing is up\n")


def test_teardown_finds_a_process_whose_state_file_was_lost(instance: IsolatedInstance) -> None:
    instance.up()
    for name in ("workshop-0", "practice-github"):
        (instance.directory / "workloads" / name / "state.json").unlink()
    done = instance.run("teardown")
    assert done.returncode == 0
    assert instance.processes() == []


def test_a_workload_ends_itself_when_its_state_directory_is_deleted(instance: IsolatedInstance) -> None:
    instance.up()
    servers = [psutil.Process(state.pid) for name, state in instance.states().items() if name != "workshop-0"]
    shutil.rmtree(instance.directory)
    gone, alive = psutil.wait_procs(servers, timeout=60)
    assert len(gone) == len(servers)
    assert alive == []


def test_each_part_runs_alone_against_what_up_started(running: IsolatedInstance) -> None:
    for main in sorted(parts_dir().glob("*/main.py")):
        options = ["--approve-as", "learner"] if "oauth" in str(main) else []
        done = running.run_python(str(main), *options)
        assert done.returncode == 0, done.stderr
        assert "GPX export drops the last waypoint" in done.stdout
