"""Images built, bundled, carried and loaded by a real engine.

WORKSHOP_TEST_PYTHON names a Python image that the engine has; without it the two images are not built.
"""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.lab.bundle.conftest import make_bundle, quiet, with_charts
from tests.lab.tools.real import ask_engine, import_tiny_image, real_program
from workshop.lab.bundle.read import open_bundle, verify
from workshop.lab.cluster.images import Images
from workshop.lab.pins import Pins, pinned
from workshop.lab.tools.docker import Docker
from workshop.lab.tools.run import Runner

OURS = ("node_image", "operator", "proxy_runner", "mcp_server", "practice")


@pytest.fixture(scope="module")
def docker() -> Docker:
    real_program("docker")
    if why := ask_engine(os.environ.get("DOCKER_HOST", "")):
        pytest.skip(f"No Docker engine answers: {why}")
    return Docker(Runner())


@pytest.fixture
def tiny(docker: Docker, tmp_path: Path) -> Iterator[Pins]:
    """Pins whose five images are tiny ones of this engine's, gone afterwards."""
    names = {field: f"workshop-test/{field.replace('_', '-')}:{uuid4().hex[:8]}" for field in OURS}
    for field, name in names.items():
        (tmp_path / field).mkdir()
        import_tiny_image(tmp_path / field, name)
    changes: dict[str, Any] = {**names, "prebuilt": frozenset({"mcp_server", "practice"})}
    yield replace(with_charts(tmp_path), **changes)
    subprocess.run(["docker", "image", "rm", "--force", *names.values()], capture_output=True, check=False)


def test_images_come_out_of_a_bundle_as_they_went_in(docker: Docker, tiny: Pins, tmp_path: Path) -> None:
    before = {name: docker.image(getattr(tiny, name)) for name in OURS}
    target = tmp_path / "lab.bundle"
    Images(docker, tiny, tmp_path).fetch(OURS, quiet)
    make_bundle(target, tiny)
    platform = docker.examine().platform
    assert verify(target, platform, quiet).platform == platform
    for name in OURS:
        subprocess.run(["docker", "image", "rm", getattr(tiny, name)], capture_output=True, check=True)
    opened = open_bundle(target, tmp_path / "state", pinned(), platform, quiet)
    images = Images(docker, opened, tmp_path)
    assert not images.fetched(["node_image"])
    images.fetch(OURS, quiet)
    assert images.fetched(OURS)
    for name in OURS:
        docker.load(opened.archives[getattr(opened, name)].path)
        after, then = docker.image(getattr(tiny, name)), before[name]
        assert after is not None
        assert then is not None
        assert after.id == then.id
        if not docker.engine.containerd_store:
            assert opened.archives[getattr(opened, name)].image_id == after.id


@pytest.mark.timeout(900)
def test_both_images_of_this_workshop_are_built_once_and_run_as_their_user(
    docker: Docker, tmp_path: Path
) -> None:
    python = os.environ.get("WORKSHOP_TEST_PYTHON")
    if not python or docker.image(python) is None:
        pytest.skip("WORKSHOP_TEST_PYTHON names no Python image of this engine")
    tag = uuid4().hex[:8]
    pins = replace(Pins.load({"python": python}), mcp_server=f"workshop-test/mcp:{tag}")
    pins = replace(pins, practice=f"workshop-test/practice:{tag}")
    images = Images(docker, pins, tmp_path)
    try:
        images.fetch(["practice"], quiet)
        assert images.fetched(["mcp_server", "practice"])
        for reference, program in ((pins.mcp_server, "import server"), (pins.practice, _SERVES)):
            run = ["docker", "run", "--rm", "--network=none", "--read-only", "--cap-drop=ALL"]
            argv = [*run, "--entrypoint=python", reference, "-c", f"{program}; import os; print(os.getuid())"]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            assert done.stdout.strip() == "1000", done.stderr
    finally:
        names = [pins.practice, pins.mcp_server]
        subprocess.run(["docker", "image", "rm", "--force", *names], capture_output=True, check=False)


_SERVES = "import workshop.core.serving; from workshop.servers.practice import __main__, app, mcp_server"
