"""One place for versions: what the manifests, the Dockerfile and the requirements say is what it says."""

import importlib.metadata
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = tomllib.loads((ROOT / "cluster" / "versions.toml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "parts" / "03_toolhive" / "Dockerfile").read_text(encoding="utf-8")
REQUIREMENTS = ROOT / "parts" / "02_local_mcp" / "requirements.txt"
MANIFESTS = sorted((ROOT / "parts").glob("*/toolhive/*.yaml"))
IN_IMAGE = {
    "python_version": "3.12",
    "python_full_version": "3.12.13",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "os_name": "posix",
}


def resources() -> list[dict[str, Any]]:
    return [body for path in MANIFESTS for body in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def test_the_image_is_built_from_the_pinned_python() -> None:
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${PYTHON_IMAGE}"]
    assert re.findall(r"^ARG PYTHON_IMAGE=(\S+)", DOCKERFILE, re.MULTILINE) == [VERSIONS["images"]["python"]]
    assert IN_IMAGE["python_full_version"] in VERSIONS["images"]["python"]


def test_the_image_that_is_built_is_the_image_that_runs() -> None:
    image = VERSIONS["images"]["mcp_server"]
    (server,) = [body for body in resources() if body["kind"] == "MCPServer"]
    assert server["spec"]["image"] == image
    assert f"docker build -t {image} " in DOCKERFILE
    for readme in (ROOT / "parts").glob("*/README.md"):
        assert set(re.findall(r"workshop/mcp-server:[\w.-]+", readme.read_text(encoding="utf-8"))) <= {image}


@pytest.mark.parametrize("image", VERSIONS["images"].values())
def test_every_image_has_a_tag_that_is_not_latest(image: str) -> None:
    """Kubernetes pulls `latest` each time, even when the image was loaded into the cluster."""
    assert re.fullmatch(r"[\w./-]+:v?\d[\w.-]*", image)


def test_toolhive_images_are_of_the_pinned_release() -> None:
    release = VERSIONS["toolhive"]["version"]
    images = [image for image in VERSIONS["images"].values() if "/toolhive/" in image]
    assert [image.rpartition(":")[2] for image in images] == [f"v{release}"] * 3


def test_the_help_names_the_pinned_versions() -> None:
    topics = ROOT / "workshop" / "cli" / "topics"
    backends = (topics / "backends.md").read_text(encoding="utf-8")
    assert set(re.findall(r"ToolHive (\S+) by Helm", backends)) == {VERSIONS["toolhive"]["version"]}
    oldest = VERSIONS["kind"]["minimum"].removesuffix(".0")
    assert set(re.findall(r"kind (\S+) or newer", backends)) == {oldest}
    node = VERSIONS["kind"]["node_image"].partition("@")[0].rpartition("/")[2]
    cluster = (topics / "cluster.md").read_text(encoding="utf-8")
    assert set(re.findall(r"kindest/(node:\S+)", cluster)) == {node}


def test_every_manifest_is_of_the_pinned_api_version_and_namespace() -> None:
    toolhive = VERSIONS["toolhive"]
    assert len(resources()) == 5
    for body in resources():
        assert body["apiVersion"] == toolhive["api_version"]
        assert body["metadata"]["namespace"] == toolhive["namespace"]


def test_the_requirements_of_the_image_are_complete_and_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pinned = dict(line.split("==") for line in project["tool"]["uv"]["constraint-dependencies"])
    listed = dict(line.split("==") for line in REQUIREMENTS.read_text("utf-8").split() if "==" in line)
    assert listed == {name: pinned[name] for name in closure("mcp", "")}


def test_the_container_runs_as_the_user_that_toolhive_gives_it() -> None:
    """ToolHive: runAsNonRoot with uid and gid 1000, and a read-only root file system."""
    instructions = [line for line in DOCKERFILE.splitlines() if re.match(r"[A-Z]+ ", line)]
    order = [line.split()[0] for line in instructions]
    assert "USER 1000:1000" in instructions
    assert order.index("RUN") < order.index("USER") < order.index("ENTRYPOINT")
    assert "PYTHONDONTWRITEBYTECODE=1" in DOCKERFILE


def test_the_image_has_every_file_that_the_server_reads() -> None:
    copied = {
        name for line in re.findall(r"^COPY (.+) \./$", DOCKERFILE, re.MULTILINE) for name in line.split()
    }
    assert copied == {"requirements.txt", "server.py", "data.json"}
    assert all((ROOT / "parts" / "02_local_mcp" / name).is_file() for name in copied)


def test_without_a_cluster_the_image_s_own_entry_point_runs() -> None:
    (entry,) = re.findall(r"^ENTRYPOINT (\[.+\])$", DOCKERFILE, re.MULTILINE)
    program, script = yaml.safe_load(entry)
    part = ROOT / "parts" / "03_toolhive"
    (workload,) = tomllib.loads((part / "part.toml").read_text(encoding="utf-8"))["workloads"]
    assert workload["entrypoint"] == [program, f"../02_local_mcp/{script}"]
    assert (part / workload["entrypoint"][1]).is_file()


def closure(name: str, extra: str) -> set[str]:
    """A distribution and everything below it, as the image's Python would install it."""
    found = {canonical(name)}
    for line in importlib.metadata.distribution(name).requires or []:
        needed = Requirement(line)
        environment = {**IN_IMAGE, "extra": extra}
        if needed.marker is None or needed.marker.evaluate(environment):
            for wanted in ("", *needed.extras):
                found |= closure(needed.name, wanted)
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
