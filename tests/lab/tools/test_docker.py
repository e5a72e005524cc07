"""The engine's five states told apart, and which engine it is."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.lab.tools.fakes import LOCAL, VERSION, FakeTools, docker
from workshop.core.errors import PreflightError, WorkshopError
from workshop.lab.tools.docker import Docker
from workshop.lab.tools.engine import EngineError
from workshop.lab.tools.run import Done, Runner


def silent(fakes: FakeTools, said: str, endpoint: str = LOCAL, context: str = "default") -> EngineError:
    """The error for an engine that does not answer."""
    found = docker(fakes, endpoint, context)
    unanswered = json.dumps({**VERSION, "Server": None})
    fakes.on("docker", "version", stdout=unanswered, stderr=said, code=1)
    with pytest.raises(EngineError) as caught:
        found.examine()
    assert isinstance(caught.value, PreflightError)
    return caught.value


def test_an_engine_that_answers_is_described(fakes: FakeTools) -> None:
    engine = docker(fakes).examine()
    assert (engine.version, engine.platform, engine.name) == (
        "20.10.24+dfsg1",
        "linux/amd64",
        "Docker Engine",
    )
    assert (engine.cpus, engine.memory_bytes, engine.remote) == (2, 25276502016, "")
    assert engine.warnings == ()


def test_an_engine_is_examined_once(fakes: FakeTools) -> None:
    found = docker(fakes)
    assert found.examine() is found.examine()
    assert len(fakes.calls("docker", "version")) == 1


def test_absent_is_reported_with_where_to_get_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EngineError) as caught:
        Docker(Runner()).examine()
    assert caught.value.code == "docker-absent"
    assert "--backend embedded" in caught.value.hint


@pytest.mark.parametrize("version", ["19.03.15", "20.9.1"])
def test_an_engine_that_is_too_old_is_reported(fakes: FakeTools, version: str) -> None:
    with pytest.raises(EngineError) as caught:
        docker(fakes, server={"Version": version}).examine()
    assert caught.value.code == "docker-too-old"
    assert version in caught.value.what
    assert "20.10.0" in caught.value.what


@pytest.mark.parametrize(
    "said",
    [
        "Error response from daemon: client version 1.10 is too old. Minimum supported API version is 1.12",
        "Error response from daemon: client version 1.52 is too new. Maximum supported API version is 1.41",
    ],
)
def test_a_client_and_an_engine_too_far_apart_are_reported(fakes: FakeTools, said: str) -> None:
    error = silent(fakes, said)
    assert error.code == "docker-too-old"
    assert error.why == said


@pytest.mark.parametrize(
    "said",
    [
        'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.50/version": dial unix /run/d.sock: permission denied',
        "permission denied while trying to connect to the docker API at unix:///var/run/docker.sock",
        "Got permission denied while trying to connect to the Docker daemon socket at unix:///run/docker.sock",
    ],
)
def test_no_permission_is_reported_with_the_group_to_join(fakes: FakeTools, said: str) -> None:
    error = silent(fakes, said)
    assert error.code == "docker-no-permission"
    assert "usermod -aG docker" in error.hint


@pytest.mark.parametrize(
    ("context", "endpoint", "hint"),
    [
        ("default", LOCAL, "systemctl start docker"),
        ("desktop-linux", "unix:///Users/me/.docker/run/docker.sock", "Docker Desktop"),
        ("orbstack", "unix:///Users/me/.orbstack/run/docker.sock", "orb start"),
        ("colima", "unix:///Users/me/.colima/default/docker.sock", "colima start"),
        ("rancher-desktop", "unix:///Users/me/.rd/docker.sock", "Start Rancher Desktop"),
    ],
)
def test_not_running_is_reported_with_how_to_start_that_engine(
    fakes: FakeTools, monkeypatch: pytest.MonkeyPatch, context: str, endpoint: str, hint: str
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.release", lambda: "6.12.0-amd64")
    error = silent(
        fakes,
        f"Cannot connect to the Docker daemon at {endpoint}. Is the docker daemon running?",
        endpoint,
        context,
    )
    assert error.code == "docker-not-running"
    assert hint in error.hint


@pytest.mark.parametrize(
    ("system", "release", "hint"),
    [("Darwin", "25.1.0", "OrbStack"), ("Linux", "6.6.87-microsoft-standard-WSL2", "WSL integration")],
)
def test_how_to_start_an_engine_depends_on_the_machine(
    fakes: FakeTools, monkeypatch: pytest.MonkeyPatch, system: str, release: str, hint: str
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.release", lambda: release)
    assert hint in silent(fakes, f"Cannot connect to the Docker daemon at {LOCAL}.").hint


class Impatient(Runner):
    """Gives the version, which is never answered here, half a second, and every other question a minute."""

    def run(self, argv: Sequence[str], *, seconds: float, **options: Any) -> Done:
        return super().run(argv, seconds=0.5 if "version" in argv else 60, **options)


def test_an_engine_that_hangs_is_not_running(fakes: FakeTools) -> None:
    docker(fakes)
    fakes.on("docker", "version", does="import time; time.sleep(600)")
    with pytest.raises(EngineError) as caught:
        Docker(Impatient(), ask_seconds=3.0).examine()
    assert caught.value.code == "docker-not-running"
    assert "did not answer within 3 s" in caught.value.why


@pytest.mark.parametrize(
    ("endpoint", "remote"),
    [
        ("tcp://10.1.2.3:2375", "tcp://10.1.2.3:2375"),
        ("ssh://me:secret@build.example", "ssh://build.example"),
        ("tcp://localhost:2375", ""),
        ("tcp://127.0.0.2:2375", ""),
        ("tcp://[::1]:2375", ""),
        ("npipe:////./pipe/docker_engine", ""),
        (LOCAL, ""),
    ],
)
def test_an_engine_on_another_machine_is_marked_and_refused_for_kind(
    fakes: FakeTools, endpoint: str, remote: str
) -> None:
    engine = docker(fakes, endpoint).examine()
    assert engine.remote == remote
    if remote:
        with pytest.raises(EngineError) as caught:
            engine.refuse_remote()
        assert caught.value.code == "docker-remote"
        assert "docker context use default" in caught.value.hint
    else:
        engine.refuse_remote()


def test_a_remote_engine_that_does_not_answer_is_reported_as_remote(fakes: FakeTools) -> None:
    said = (
        "error during connect: command [ssh -l me -- build.example docker system dial-stdio] has exited "
        "with exit status 255: stderr=me@build.example: Permission denied (publickey,password)."
    )
    error = silent(fakes, said, "ssh://me@build.example")
    assert error.code == "docker-remote"
    assert "ssh://build.example" in error.what


def test_a_context_that_does_not_exist_is_reported(fakes: FakeTools) -> None:
    found = docker(fakes)
    fakes.on("docker", "context", stderr='context "nope": context not found', code=1)
    with pytest.raises(EngineError) as caught:
        found.examine()
    assert "context not found" in caught.value.why


@pytest.mark.parametrize(
    ("info", "server", "name"),
    [
        ({"OperatingSystem": "Docker Desktop", "Name": "docker-desktop"}, {}, "Docker Desktop"),
        ({}, {"Platform": {"Name": "Docker Desktop 4.48.0 (207573)"}}, "Docker Desktop"),
        ({"OperatingSystem": "OrbStack", "Name": "orbstack"}, {}, "OrbStack"),
        ({"OperatingSystem": "Ubuntu 24.04.3 LTS", "Name": "colima"}, {}, "Colima"),
        ({"OperatingSystem": "Alpine Linux v3.22", "Name": "lima-rancher-desktop"}, {}, "Rancher Desktop"),
        (
            {"OperatingSystem": "fedora"},
            {"Version": "5.6.0", "Components": [{"Name": "Podman Engine"}]},
            "Podman",
        ),
        ({"Name": "rancher-worker-1"}, {}, "Docker Engine"),
        ({}, {"Platform": {"Name": "Docker Engine - Community"}}, "Docker Engine"),
    ],
)
def test_the_engine_is_known_by_name(
    fakes: FakeTools, info: dict[str, Any], server: dict[str, Any], name: str
) -> None:
    assert docker(fakes, server=server, **info).examine().name == name


@pytest.mark.parametrize(
    ("info", "warning"),
    [
        ({"MemTotal": 2 * 2**30}, "2.0 GiB"),
        ({"SecurityOptions": ["name=rootless"]}, "rootless"),
        ({"CgroupVersion": "1"}, "cgroup v1"),
    ],
)
def test_what_may_trouble_a_cluster_is_a_warning(
    fakes: FakeTools, info: dict[str, Any], warning: str
) -> None:
    (told,) = docker(fakes, **info).examine().warnings
    assert warning in told


def test_an_arm_engine_has_the_name_that_images_use(fakes: FakeTools) -> None:
    assert docker(fakes, Architecture="aarch64").examine().platform == "linux/arm64"


def test_an_answer_that_is_no_json_is_reported(fakes: FakeTools) -> None:
    found = docker(fakes)
    fakes.on("docker", "version", stdout="Client: Docker Engine\n")
    with pytest.raises(WorkshopError, match="not JSON"):
        found.examine()
