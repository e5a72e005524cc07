"""The first README command: everything, unattended, in one go."""

import json
import socket

from tests.environment import IsolatedInstance

STEPS = ["up", "part 1", "part 2", "part 3", "part 4", "teardown"]


def test_a_rehearsal_holds_shows_its_table_and_leaves_nothing(instance: IsolatedInstance) -> None:
    done = instance.run("rehearse", *instance.port_options, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("✓")]
    assert len(rows) == len(STEPS)
    assert done.stdout.count("#42") == 4, "each part names the same issue"
    assert "rehearsal model (no LLM)" in done.stderr
    assert instance.processes() == []
    assert not instance.directory.exists()


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
