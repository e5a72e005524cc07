"""Docker's five states and its images, on a real client and, where one runs, a real engine.

WORKSHOP_TEST_DOCKERD=1 starts an engine for them (as root); otherwise the one that runs is used.
"""

import os
import shutil
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.lab.tools.real import import_tiny_image, platforms, real_program
from workshop.core.errors import WorkshopError
from workshop.lab.tools.docker import Docker
from workshop.lab.tools.engine import EngineError
from workshop.lab.tools.run import Runner

NOBODY = "65534"


@pytest.fixture
def docker(real_engine: str) -> Docker:
    return Docker(Runner())


@pytest.fixture
def tiny_image(docker: Docker, image_names: list[str], tmp_path: Path) -> str:
    name = f"workshop-test/tiny:{uuid4().hex[:8]}"
    image_names.append(name)
    import_tiny_image(tmp_path, name)
    return name


@pytest.fixture
def client() -> str:
    return real_program("docker")


def state(docker: Docker) -> str:
    with pytest.raises(EngineError) as caught:
        docker.examine()
    return caught.value.code


def test_a_real_engine_is_described(docker: Docker) -> None:
    engine = docker.examine()
    assert engine.architecture in {"amd64", "arm64"}
    assert engine.memory_bytes > 2**28
    assert engine.cpus > 0


def test_a_path_without_docker_is_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert state(Docker(Runner())) == "docker-absent"


def test_a_socket_where_nobody_listens_is_not_running(
    client: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    assert state(Docker(Runner())) == "docker-not-running"


def test_a_client_older_than_the_engine_allows_is_too_old(
    docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_API_VERSION", "1.5")
    assert state(docker) == "docker-too-old"


def test_a_socket_of_others_is_no_permission(
    client: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = _short(tmp_path / "s")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{address}")
    if os.geteuid() == 0:  # root may use any socket: ask as nobody
        _wrap_docker(client, tmp_path / "bin", monkeypatch)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        address.chmod(0)
        assert state(Docker(Runner())) == "docker-no-permission"
    address.unlink()
    address.parent.rmdir()


def test_an_engine_behind_another_machines_name_is_remote(
    docker: Docker, relayed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", relayed)
    engine = docker.examine()
    assert engine.remote == relayed
    with pytest.raises(EngineError, match="another machine"):
        engine.refuse_remote()


def test_another_machine_that_does_not_answer_is_remote(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://engine.invalid:2375")
    assert state(Docker(Runner())) == "docker-remote"


def test_a_context_that_is_not_there_is_reported(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONTEXT", "workshop-test-nowhere")
    with pytest.raises(EngineError, match="current context"):
        Docker(Runner()).examine()


def test_an_image_is_built_on_another_and_found(
    docker: Docker, tiny_image: str, image_names: list[str], tmp_path: Path
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "file").write_text("hello")
    (context / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nCOPY file /file\nENV MARK=1\n")
    tag = f"workshop-test/built:{uuid4().hex[:8]}"
    image_names.append(tag)
    assert docker.image(tag) is None
    docker.build(tag, context, context / "Dockerfile", {"BASE": tiny_image}, labels={"workshop": "yes"})
    image = docker.image(tag)
    assert image is not None
    assert image.platform == docker.examine().platform
    assert image.labels["workshop"] == "yes"


def test_a_build_that_fails_reports_what_the_step_said(
    docker: Docker, tiny_image: str, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {tiny_image}\nCOPY not-there /x\n")
    with pytest.raises(WorkshopError) as caught:
        docker.build("workshop-test/never", tmp_path, tmp_path / "Dockerfile", {})
    assert "not-there" in caught.value.why


def test_an_archive_of_one_platform_is_saved_and_loaded_again(
    docker: Docker, tiny_image: str, image_names: list[str], tmp_path: Path
) -> None:
    other = f"{tiny_image}-too"
    image_names.append(other)
    docker.tag(tiny_image, other)
    archive = tmp_path / "images.tar"
    docker.save([tiny_image, other], archive, docker.examine().platform)
    assert set(platforms(archive)) == {docker.examine().platform}
    before = docker.image(other)
    subprocess.run(["docker", "image", "rm", "--force", tiny_image, other], check=True, capture_output=True)
    assert docker.image(other) is None
    assert set(docker.load(archive)) == {tiny_image, other}
    assert docker.image(other) == before


def test_saving_what_is_not_there_fails_and_leaves_nothing(docker: Docker, tmp_path: Path) -> None:
    with pytest.raises(WorkshopError, match="docker save"):
        docker.save(["workshop-test/none:1"], tmp_path / "x.tar", docker.examine().platform)
    assert list(tmp_path.iterdir()) == []


def test_a_file_comes_out_of_a_container(docker: Docker, tiny_image: str, tmp_path: Path) -> None:
    argv = ["docker", "create", "--network", "none", tiny_image, "/bin/busybox", "true"]
    made = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
    (tmp_path / "ca.crt").write_text("certificate")
    try:
        subprocess.run(["docker", "cp", str(tmp_path / "ca.crt"), f"{made}:/ca.crt"], check=True)
        docker.copy_from(made, "/ca.crt", tmp_path / "back.crt")
    finally:
        subprocess.run(["docker", "rm", "--force", made], check=False, capture_output=True)
    assert (tmp_path / "back.crt").read_text() == "certificate"


def test_a_command_runs_inside_a_container(docker: Docker, tiny_image: str) -> None:
    argv = ["docker", "run", "--detach", "--network", "none", tiny_image, "/bin/busybox", "sleep", "600"]
    started = subprocess.run(argv, check=False, capture_output=True, text=True)
    if started.returncode:
        pytest.skip(f"This engine runs no container: {started.stderr.strip()[-200:]}")
    made = started.stdout.strip()
    try:
        assert docker.exec(made, ["/bin/busybox", "echo", "inside"]).stdout == "inside\n"
        assert docker.exec(made, ["/bin/busybox", "false"], check=False).code == 1
    finally:
        subprocess.run(["docker", "rm", "--force", made], check=False, capture_output=True)


def test_a_registry_out_of_reach_is_reported_with_a_hint(docker: Docker) -> None:
    with pytest.raises(WorkshopError) as caught:
        docker.pull("registry.invalid/a/b:1", docker.examine().platform)
    assert "does not reach" in caught.value.hint


@pytest.fixture
def relayed(real_engine: str) -> Iterator[str]:
    """The engine by this machine's name, which no one can tell from another machine's."""
    name = socket.gethostname()
    try:
        loopback = socket.gethostbyname(name).startswith("127.")
    except OSError:
        loopback = False
    path = real_engine.removeprefix("unix://") or "/var/run/docker.sock"
    if not loopback or not stat.S_ISSOCK(Path(path).stat().st_mode):
        pytest.skip("This machine's name does not lead to itself, or its engine has no socket")
    with socket.create_server((socket.gethostbyname(name), 0)) as server:
        threading.Thread(target=_relay, args=(server, path), daemon=True).start()
        yield f"tcp://{name}:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def _relay(server: socket.socket, path: str) -> None:
    while True:
        try:
            caller, _ = server.accept()
        except OSError:
            return
        engine = socket.socket(socket.AF_UNIX)
        engine.connect(path)
        for source, target in ((caller, engine), (engine, caller)):
            threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    finally:
        target.close()


def _wrap_docker(client: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `docker` that is the real one, run as nobody."""
    folder.mkdir()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("There is no setpriv to become nobody with")
    script = folder / "docker"
    identity = f"--reuid {NOBODY} --regid {NOBODY} --clear-groups"
    script.write_text(f'#!/bin/sh\nHOME=/ exec {setpriv} {identity} {client} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def _short(path: Path) -> Path:
    """A socket's path that others can reach: pytest's own folders are private, and too long."""
    folder = Path("/tmp") / f"workshop-{uuid4().hex[:8]}"
    folder.mkdir(mode=0o755)
    return folder / path.name
