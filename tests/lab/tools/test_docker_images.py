"""The commands for images: one platform, no login but a working one, nothing half done."""

import json
from pathlib import Path

import pytest

from tests.lab.tools.fakes import FakeTools, docker
from workshop.core.errors import WorkshopError
from workshop.lab.tools.docker import Docker
from workshop.lab.tools.engine import EngineError
from workshop.lab.tools.run import Runner


def test_an_image_is_described_and_an_absent_one_is_none(fakes: FakeTools) -> None:
    found = docker(fakes)
    told: dict[str, object] = {"Id": "sha256:1", "Os": "linux", "Architecture": "arm64", "Variant": "v8"}
    told |= {"Config": {"Labels": {"k": "v"}}}
    fakes.on("docker", "image", "inspect", stdout=json.dumps(told))
    absent = "Error response from daemon: no such image: gone: No such image: gone:latest"
    fakes.on("docker", "image", "inspect", "gone", stdout="\n", stderr=absent, code=1)
    image = found.image("here")
    assert image is not None
    assert (image.id, image.platform, image.labels) == ("sha256:1", "linux/arm64/v8", {"k": "v"})
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


def test_a_pull_refused_with_and_without_login_reports_what_the_first_said(fakes: FakeTools) -> None:
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
    docker(fakes)
    fakes.on("docker", "build")
    echoed: list[str] = []
    proxy = "http://me:pass@proxy:3128"
    Docker(Runner(echoed.append)).build(
        "t:1", tmp_path, tmp_path / "F", {"HTTP_PROXY": proxy}, network="host", labels={"a": "b"}
    )
    (call,) = fakes.calls("docker", "build")
    assert call.argv == [
        *("docker", "build", "--tag", "t:1", "--file", str(tmp_path / "F"), "--build-arg", "HTTP_PROXY"),
        *("--label", "a=b", "--network", "host", str(tmp_path)),
    ]
    assert call.env["HTTP_PROXY"] == proxy
    assert call.env["BUILDX_NO_DEFAULT_ATTESTATIONS"] == "1"
    assert "HTTP_PROXY='http://***@proxy:3128'" in echoed[-1]


def test_a_build_goes_to_the_engine_and_for_its_platform_whatever_else_is_chosen(
    fakes: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILDX_BUILDER", "elsewhere")
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/s390x")
    fakes.on("docker", "build")
    docker(fakes).build("t:1", tmp_path, tmp_path / "F", {})
    (call,) = fakes.calls("docker", "build")
    assert call.env["BUILDX_BUILDER"] == "default"
    assert call.env["DOCKER_DEFAULT_PLATFORM"] == "linux/amd64"


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


def test_a_save_that_fails_does_not_offer_the_path_that_is_removed(fakes: FakeTools, tmp_path: Path) -> None:
    found = docker(fakes)
    fakes.on("docker", "save", stderr="Error response from daemon: it went away", code=1)
    with pytest.raises(WorkshopError) as caught:
        found.save(["a:1"], tmp_path / "x.tar", "linux/amd64")
    assert str(tmp_path) not in caught.value.hint
    fakes.on("docker", "save", stderr="unexpected EOF", code=1)
    with pytest.raises(WorkshopError) as caught:
        found.save(["a:1"], tmp_path / "x.tar", "linux/amd64")
    assert caught.value.hint == "Docker does not answer: start it, then run this command again"


def test_a_pull_that_fails_names_the_image(fakes: FakeTools) -> None:
    found = docker(fakes)
    fakes.on("docker", "pull", stderr="Error response from daemon: manifest for node:v0 not found", code=1)
    with pytest.raises(WorkshopError, match="The image `node:v0` cannot be pulled") as caught:
        found.pull("node:v0", "linux/amd64")
    assert "There is no such image" in caught.value.hint


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
    tool.copy_from("node", "/kind/kubeadm.conf", tmp_path / "c")
    assert tool.exec("node", ["ls", "-l"]).stdout == "out"
    assert fakes.argvs() == [
        ["docker", "tag", "a:1", "b:2"],
        ["docker", "cp", "node:/kind/kubeadm.conf", str(tmp_path / "c")],
        ["docker", "exec", "node", "ls", "-l"],
    ]
