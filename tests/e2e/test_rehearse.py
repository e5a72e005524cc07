"""The first README command: everything, unattended, in one go."""

import json
import socket

import pexpect

from tests.environment import IsolatedInstance
from tests.pictures.transcript import transcript

STEPS = ["up", "part 1", "part 2", "part 3", "part 4", "teardown"]


def test_a_rehearsal_holds_shows_its_table_and_leaves_nothing(instance: IsolatedInstance) -> None:
    done = instance.start("rehearse", *instance.port_options, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("✓")]
    assert len(rows) == len(STEPS)
    assert done.stdout.count("#42") == 4, "each part names the same issue"
    assert "rehearsal model (no LLM)" in done.stderr
    assert instance.processes() == []
    assert not instance.directory.exists()


def test_on_a_terminal_each_step_is_one_line(instance: IsolatedInstance) -> None:
    child = instance.spawn("rehearse", *instance.port_options, timeout=180)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    lines = [line for line in transcript(str(child.before)).splitlines() if line.strip()]
    marked = [line for line in lines if "✓" in line]
    assert len(marked) == len(STEPS)
    assert "#42" in marked[3] or "trail-mapper" in marked[3]
    assert len(lines) <= len(STEPS) + 2, "and how many hold, and what comes next"
    assert "6 of 6 steps passed" in "".join(lines)


def test_a_rehearsal_told_as_json_is_one_document(instance: IsolatedInstance) -> None:
    done = instance.run("rehearse", "--json", "--keep", *instance.port_options, timeout=120)
    document = json.loads(done.stdout)
    assert document["data"]["held"] is True
    assert [step["name"] for step in document["data"]["steps"]] == STEPS[:-1]
    assert len(instance.processes()) == len(instance.states()) == 4, "`--keep` leaves everything up"
    assert instance.run("rehearse", timeout=120).returncode == 0, "a second rehearsal uses what is up"
    assert len(instance.processes()) == 4, "and leaves it up"
    assert instance.run("teardown").returncode == 0
    assert instance.processes() == []


def test_a_rehearsal_with_a_port_taken_fails_and_leaves_nothing(instance: IsolatedInstance) -> None:
    with socket.create_server(("127.0.0.1", instance.ports["github-remote"])):
        done = instance.run("rehearse", *instance.port_options)
    assert done.returncode == 1
    assert f"Port {instance.ports['github-remote']}" in done.stderr
    assert "✗" in done.stdout
    assert instance.processes() == []
