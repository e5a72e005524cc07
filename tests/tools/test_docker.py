"""The engine's five states told apart, which engine it is, and the commands for images."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tools.fakes import FakeTools
from workshop.errors import PreflightError, WorkshopError
from workshop.tools.docker import Docker
from workshop.tools.engine import EngineError
from workshop.tools.run import Runner

# What Docker 28's client and Debian's engine 20.10 print, shortened.
VERSION: dict[str, Any] = {
    "Client": {"Version": "28.2.2", "Context": "default"},
    "Server": {
        "Platform": {"Name": ""},
        "Components": [{"Name": "Engine", "Version": "20.10.24+dfsg1"}],
        "Version": "20.10.24+dfsg1",
        "ApiVersion": "1.41",
        "Arch": "amd64",
    },
}
INFO: dict[str, Any] = {
    "DriverStatus": None,
    "CgroupVersion": "2",
    "OperatingSystem": "Debian GNU/Linux 12 (bookworm)",
    "Architecture": "x86_64",
    "NCPU": 2,
    "MemTotal": 25276502016,
    "Name": "vm",
    "SecurityOptions": ["name=seccomp,profile=default"],
}
LOCAL = "unix:///var/run/docker.sock"


def docker(fakes: FakeTools, endpoint: str = LOCAL, context: str = "default", **changes: Any) -> Docker:
    told = {"Name": context, "Endpoints": {"docker": {"Host": endpoint}}}
    fakes.on("docker", "context", "inspect", stdout=json.dumps(told))
    server = {**VERSION["Server"], **changes.pop("server", {})}
    fakes.on("docker", "version", stdout=json.dumps({**VERSION, "Server": server}))
    fakes.on("docker", "info", stdout=json.dumps({**INFO, **changes}))
    return Docker(Runner())


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


def test_absent_is_told_with_where_to_get_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EngineError) as caught:
        Docker(Runner()).examine()
    assert caught.value.code == "docker-absent"
    assert "--backend embedded" in caught.value.hint


@pytest.mark.parametrize("version", ["19.03.15", "20.9.1"])
def test_an_engine_that_is_too_old_is_told(fakes: FakeTools, version: str) -> None:
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
def test_a_client_and_an_engine_too_far_apart_are_told(fakes: FakeTools, said: str) -> None:
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
def test_no_permission_is_told_with_the_group_to_join(fakes: FakeTools, said: str) -> None:
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
def test_not_running_is_told_with_how_to_start_that_engine(
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


def test_an_engine_that_hangs_is_not_running(fakes: FakeTools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workshop.tools.docker._ASK_SECONDS", 3.0)
    found = docker(fakes)
    fakes.on("docker", "version", does="import time; time.sleep(600)")
    with pytest.raises(EngineError) as caught:
        found.examine()
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


def test_a_remote_engine_that_does_not_answer_is_told_as_remote(fakes: FakeTools) -> None:
    said = (
        "error during connect: command [ssh -l me -- build.example docker system dial-stdio] has exited "
        "with exit status 255: stderr=me@build.example: Permission denied (publickey,password)."
    )
    error = silent(fakes, said, "ssh://me@build.example")
    assert error.code == "docker-remote"
    assert "ssh://build.example" in error.what


def test_a_context_that_does_not_exist_is_told(fakes: FakeTools) -> None:
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


def test_an_answer_that_is_no_json_is_told(fakes: FakeTools) -> None:
    found = docker(fakes)
    fakes.on("docker", "version", stdout="Client: Docker Engine\n")
    with pytest.raises(WorkshopError, match="not JSON"):
        found.examine()


def test_an_image_is_described_and_an_absent_one_is_none(fakes: FakeTools) -> None:
    found = docker(fakes)
    told = {"Id": "sha256:1", "Os": "linux", "Architecture": "arm64", "Variant": "v8", "Size": 7}
    told |= {"RepoDigests": ["a@sha256:2"], "Config": {"Labels": {"k": "v"}}}
    fakes.on("docker", "image", "inspect", stdout=json.dumps(told))
    absent = "Error response from daemon: no such image: gone: No such image: gone:latest"
    fakes.on("docker", "image", "inspect", "gone", stdout="\n", stderr=absent, code=1)
    image = found.image("here")
    assert image is not None
    assert (image.id, image.platform, image.digests, image.labels) == (
        "sha256:1",
        "linux/arm64/v8",
        ("a@sha256:2",),
        {"k": "v"},
    )
    assert found.image("gone") is None


def test_an_image_that_cannot_be_looked_at_is_an_error(fakes: FakeTools) -> None:
    fakes.on("docker", "image", "inspect", stderr="Cannot connect to the Docker daemon", code=1)
    with pytest.raises(WorkshopError, match="docker image inspect"):
        Docker(Runner()).image("x")


def test_a_pull_names_one_platform(fakes: FakeTools) -> None:
    fakes.on("docker", "pull")
    Docker(Runner()).pull("ghcr.io/a/b:1", "linux/arm64")
    assert fakes.argvs() == [["docker", "pull", "--quiet", "--platform", "linux/arm64", "ghcr.io/a/b:1"]]


@pytest.mark.parametrize(
    "refusal",
    [
        'Error response from daemon: Head "https://ghcr.io/v2/a/manifests/1": denied: denied',
        'error getting credentials - err: exec: "docker-credential-desktop.exe": executable file not found',
    ],
)
def test_a_pull_that_a_stored_login_spoils_is_tried_without_any(fakes: FakeTools, refusal: str) -> None:
    found = docker(fakes, "unix:///run/other.sock")
    fakes.on("docker", "pull")
    fakes.on("docker", "pull", stderr=refusal, code=1, times=1)
    found.pull("ghcr.io/a:1", "linux/amd64")
    first, second = fakes.calls("docker", "pull")
    assert first.argv == second.argv
    assert "DOCKER_CONFIG" not in first.env
    assert second.env["DOCKER_HOST"] == "unix:///run/other.sock"
    assert second.env["DOCKER_CONFIG"] != str(Path.home() / ".docker")


def test_a_pull_refused_with_and_without_login_tells_what_the_first_said(fakes: FakeTools) -> None:
    found = docker(fakes)
    fakes.on("docker", "pull", stderr="Error: second", code=1)
    denied = 'Error response from daemon: Head "https://ghcr.io/v2/a/manifests/1": unauthorized'
    fakes.on("docker", "pull", stderr=denied, code=1, times=1)
    with pytest.raises(WorkshopError) as caught:
        found.pull("ghcr.io/a:1", "linux/amd64")
    assert caught.value.why == denied
    assert "docker logout ghcr.io" in caught.value.hint


def test_a_pull_that_fails_for_another_reason_is_tried_once(fakes: FakeTools) -> None:
    fakes.on("docker", "pull", stderr="dial tcp: lookup ghcr.io: no such host", code=1)
    with pytest.raises(WorkshopError):
        Docker(Runner()).pull("ghcr.io/a:1", "linux/amd64")
    assert len(fakes.calls()) == 1


def test_build_arguments_reach_docker_by_the_environment_only(fakes: FakeTools, tmp_path: Path) -> None:
    fakes.on("docker", "build")
    echoed: list[str] = []
    proxy = "http://me:pass@proxy:3128"
    Docker(Runner(echoed.append)).build(
        "t:1", tmp_path, tmp_path / "F", {"HTTP_PROXY": proxy}, network="host", labels={"a": "b"}
    )
    (call,) = fakes.calls()
    assert call.argv == [
        *("docker", "build", "--tag", "t:1", "--file", str(tmp_path / "F"), "--build-arg", "HTTP_PROXY"),
        *("--label", "a=b", "--network", "host", str(tmp_path)),
    ]
    assert call.env["HTTP_PROXY"] == proxy
    assert call.env["BUILDX_NO_DEFAULT_ATTESTATIONS"] == "1"
    assert "HTTP_PROXY='http://***@proxy:3128'" in echoed[0]


def write_output(text: str) -> str:
    return f"open(argv[argv.index('--output') + 1], 'w').write({text!r})"


def test_an_archive_has_one_platform_where_the_engine_can(fakes: FakeTools, tmp_path: Path) -> None:
    found = docker(fakes, server={"ApiVersion": "1.48"})
    fakes.on("docker", "save", does=write_output("archive"))
    found.save(["a:1", "b:2"], tmp_path / "x.tar", "linux/arm64")
    (argv,) = fakes.argvs("docker", "save")
    assert argv[:5] == ["docker", "save", "--platform", "linux/arm64", "--output"]
    assert argv[6:] == ["a:1", "b:2"]
    assert (tmp_path / "x.tar").read_text() == "archive"


def test_the_classic_store_needs_no_platform(fakes: FakeTools, tmp_path: Path) -> None:
    found = docker(fakes)
    fakes.on("docker", "save", does=write_output("archive"))
    found.save(["a:1"], tmp_path / "x.tar", "linux/amd64")
    assert "--platform" not in fakes.argvs("docker", "save")[0]


def test_a_containerd_store_that_cannot_choose_a_platform_is_refused(
    fakes: FakeTools, tmp_path: Path
) -> None:
    store = [["driver-type", "io.containerd.snapshotter.v1"]]
    found = docker(fakes, server={"Version": "27.5.1", "ApiVersion": "1.47"}, DriverStatus=store)
    with pytest.raises(EngineError) as caught:
        found.save(["a:1"], tmp_path / "x.tar", "linux/amd64")
    assert caught.value.code == "docker-too-old"
    assert "containerd image store" in caught.value.hint


def test_a_save_that_fails_leaves_no_half_archive(fakes: FakeTools, tmp_path: Path) -> None:
    found = docker(fakes)
    fakes.on("docker", "save", does=write_output("half"), stderr="no space left on device", code=1)
    with pytest.raises(WorkshopError):
        found.save(["a:1"], tmp_path / "x.tar", "linux/amd64")
    assert not list(tmp_path.glob("*x.tar*"))
    assert not list(tmp_path.glob(".*"))


def test_loading_names_the_images(fakes: FakeTools, tmp_path: Path) -> None:
    fakes.on(
        "docker",
        "load",
        stdout="Loaded image: a:1\nLoaded image: b.example:5000/c:2\nLoaded image ID: sha256:1\n",
    )
    assert Docker(Runner()).load(tmp_path / "x.tar") == ("a:1", "b.example:5000/c:2", "sha256:1")


def test_the_small_commands_are_spelled_right(fakes: FakeTools, tmp_path: Path) -> None:
    fakes.on("docker", stdout="out")
    tool = Docker(Runner())
    tool.tag("a:1", "b:2")
    tool.copy_into("node", tmp_path / "ca.crt", "/etc/ca.crt")
    tool.copy_from("node", "/kind/kubeadm.conf", tmp_path / "c")
    assert tool.exec("node", ["ls", "-l"]).stdout == "out"
    assert fakes.argvs() == [
        ["docker", "tag", "a:1", "b:2"],
        ["docker", "cp", str(tmp_path / "ca.crt"), "node:/etc/ca.crt"],
        ["docker", "cp", "node:/kind/kubeadm.conf", str(tmp_path / "c")],
        ["docker", "exec", "node", "ls", "-l"],
    ]
