"""Each message of `workshop help troubleshooting` is provoked, here or in a test that is named."""

import re
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock
from starlette.responses import Response

from tests.cli.conftest import Outcome, Workshop, workshop
from tests.environment import WORKLOADS
from tests.lab.cluster.fake_tools import FakeMachine
from tests.readme.page import ROOT, topic
from tests.servers.gateway.harness import in_thread
from tests.tiers import exists
from workshop.core.instance import Instance, Record
from workshop.core.ports import free_port

__all__ = ["workshop"]

MESSAGES = [
    message
    for heading in re.findall(r"^## (.+)$", topic("troubleshooting"), re.MULTILINE)
    for message in re.findall(r"`([^`]+)`", heading)
]
GOLDEN = ROOT / "workshop" / "course" / "demo" / "scripts" / "what-goes-wrong.golden.txt"
IN_A_DEMO = "The login was not approved"
# Messages that need more than a command line, and the test that provokes each.
ELSEWHERE = {
    "Cluster DNS does not resolve …, asked from pod …": (
        "tests/lab/cluster/test_restart.py::test_a_name_that_never_resolves_is_named_with_the_pod_and_what_to_do"
    ),
    "Service … does not accept a connection, asked from pod …": (
        "tests/lab/cluster/test_restart.py::test_a_service_that_refuses_for_ever_is_named_with_where_to_look"
    ),
    "… exited while it was starting": (
        "tests/e2e/test_lifecycle.py::test_an_up_that_fails_half_way_stops_what_it_had_started"
    ),
    "… was not ready within … s": (
        "tests/lab/test_process.py::test_a_process_that_answers_with_an_error_is_not_healthy"
    ),
    "The cluster … does not answer": (
        "tests/lab/cluster/test_restart.py::test_a_stopped_cluster_is_not_started_by_a_part"
    ),
    "… cannot become ready: …": (
        "tests/lab/cluster/test_troubles.py::test_a_pause_after_a_hopeless_pull_does_not_make_it_hopeful"
    ),
    IN_A_DEMO: "tests/course/demo/test_demo.py::test_a_demo_still_shows_what_its_golden_text_says",
    "Nobody approved the login within … seconds": (
        "tests/agent/test_oauth.py::test_t111_a_login_that_nobody_approves_ends_with_a_deadline"
    ),
    "The server accepted the agent but has no tools": (
        "tests/agent/test_mcp_tools.py"
        "::test_a_server_without_tools_is_distinguished_from_a_login_that_is_missing"
    ),
}


@dataclass(frozen=True)
class Scene:
    """What a command is provoked with: the command line, a folder, and the machine around it."""

    run: Workshop
    folder: Path
    patch: pytest.MonkeyPatch

    def env(self, text: str) -> None:
        Path(".env").write_text(text)

    def up(self, backend: str) -> None:
        Instance.load().save(Record(backend, "practice", {}, {}))

    def machine(self) -> FakeMachine:
        made = FakeMachine.install(self.folder, self.patch, "{}")
        self.patch.setenv("PATH", str(self.folder / "bin"))
        return made


def free_ports() -> list[str]:
    return [f"--port={name}={free_port()}" for name in WORKLOADS]


def taken_port(scene: Scene) -> Outcome:
    ports = free_ports()
    with socket.create_server(("127.0.0.1", int(ports[-1].rpartition("=")[2]))):
        return scene.run("up", *ports)


def nothing_up(scene: Scene) -> Outcome:
    return scene.run("part", "3", "run")


def another_backend(scene: Scene) -> Outcome:
    scene.up("embedded")
    return scene.run("up", "--backend", "kind")


def no_secret(scene: Scene) -> Outcome:
    return scene.run("up", "--upstream", "github")


def a_space(scene: Scene) -> Outcome:
    scene.env("OPENAI_API_KEY='a b'\n")
    return scene.run("config")


def docker_stopped(scene: Scene) -> Outcome:
    scene.machine().add("stopped", "docker")
    return scene.run("up", "--backend", "kind", *free_ports())


def no_kind(scene: Scene) -> Outcome:
    scene.machine()
    (scene.folder / "bin" / "kind").unlink()
    return scene.run("up", "--backend", "kind", *free_ports())


def no_bundle(scene: Scene) -> Outcome:
    Path("class.bundle").write_bytes(b"half a file")
    return scene.run("bundle", "verify", "class.bundle")


def no_model(scene: Scene) -> Outcome:
    scene.env("OPENAI_API_KEY=x\n")
    return scene.run("part", "1", "run")


def refused_key(scene: Scene) -> Outcome:
    with answering(401) as url:
        scene.env(f"OPENAI_BASE_URL={url}\nOPENAI_API_KEY=x\nWORKSHOP_MODEL=m\n")
        return scene.run("part", "1", "run")


def still_at_work(scene: Scene) -> Outcome:
    scene.patch.setattr(Instance, "lock_seconds", 0.1)
    directory = Instance.load().directory
    directory.parent.mkdir(parents=True)
    with FileLock(directory.parent / f"{directory.name}.lock"):
        return scene.run("teardown")


def damaged_state(scene: Scene) -> Outcome:
    scene.up("embedded")
    (Instance.load().directory / "instance.json").write_text("{")
    return scene.run("status")


def no_terminal(scene: Scene) -> Outcome:
    return scene.run("demo", "play", "tutorial")


def broken_line(scene: Scene) -> Outcome:
    scene.env("OPENAI_API_KEY='never closed\n")
    return scene.run("config")


def nobody_to_ask(scene: Scene) -> Outcome:
    return scene.run("part", "1", "reset")


def forgotten(_: Scene) -> Outcome:
    """An authorization endpoint that shows an error page for the agent's client, met without a browser."""
    import asyncio

    from workshop.agent.practice_browser import approve_login
    from workshop.core.errors import WorkshopError

    with answering(400) as url, pytest.raises(WorkshopError) as caught:
        asyncio.run(approve_login(f"{url}/authorize?redirect_uri=http://localhost:1/", "learner"))
    return Outcome(caught.value.exit_code, "", f"Error: {caught.value.what}")


def not_practice(scene: Scene) -> Outcome:
    """A login page that is nobody's practice GitHub, met by the one who clicks for the person."""
    import asyncio

    from workshop.agent.practice_browser import approve_login
    from workshop.core.errors import CredentialsError

    with answering(200) as url, pytest.raises(CredentialsError) as caught:
        asyncio.run(approve_login(f"{url}/authorize?redirect_uri=http://localhost:1/", "learner"))
    return Outcome(caught.value.exit_code, "", f"Error: {caught.value.what}")


HERE: dict[str, Callable[[Scene], Outcome]] = {
    "Port … is already in use, and … needs it": taken_port,
    "Part … needs its workloads, and nothing is up": nothing_up,
    "The … backend is up, but the … backend was requested": another_backend,
    "GITHUB_OAUTH_CLIENT_SECRET is not set in …": no_secret,
    "… contains a space": a_space,
    "Docker is installed, but its engine is not running": docker_stopped,
    "… was not found on your PATH": no_kind,
    "… is damaged, or is not a bundle": no_bundle,
    "Cannot approve as …: this is not the practice GitHub": not_practice,
    "WORKSHOP_MODEL is not set": no_model,
    "The model's endpoint refused the API key": refused_key,
    "Another … command is still running": still_at_work,
    "Cannot use the state in …": damaged_state,
    "There is no terminal to wait at": no_terminal,
    "Line … of … is not KEY=VALUE": broken_line,
    "This needs an answer, and there is no terminal to ask at": nobody_to_ask,
    "The authorization server has forgotten the agent": forgotten,
}


def answering(status: int) -> AbstractContextManager[str]:
    """A server that answers everything with this status."""
    return in_thread(Response(status_code=status), free_port())


def pattern(text: str) -> str:
    return ".+".join(re.escape(piece) for piece in text.split("…"))


def test_each_message_of_the_topic_is_provoked() -> None:
    assert sorted(MESSAGES) == sorted([*HERE, *ELSEWHERE])


@pytest.mark.parametrize("text", HERE)
def test_a_message_of_the_topic_is_what_is_printed(
    text: str, workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = HERE[text](Scene(workshop, tmp_path, monkeypatch))
    assert outcome.code != 0
    assert re.search(f"^Error: {pattern(text)}", outcome.err, re.MULTILINE), outcome.err
    assert "Traceback" not in outcome.err


def test_a_demo_s_golden_text_has_the_message_that_the_demo_provokes() -> None:
    assert IN_A_DEMO in GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ELSEWHERE)
def test_a_message_that_another_test_provokes_is_a_line_of_the_program(text: str) -> None:
    assert exists(ELSEWHERE[text])
    pieces = [piece.strip() for piece in text.split("…") if piece.strip(" :")]
    lines = [line for path in (ROOT / "workshop").rglob("*.py") for line in path.read_text().splitlines()]
    assert any(all(piece in line for piece in pieces) for line in lines)
