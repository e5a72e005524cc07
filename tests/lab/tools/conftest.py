"""Fakes for every test here, and the real engine where one runs."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.tools.fakes import FakeTools
from tests.lab.tools.real import ask_engine, own_engine


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    """A PATH with nothing on it but the fakes."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "KIND_EXPERIMENTAL_PROVIDER"):
        monkeypatch.delenv(name, raising=False)
    return FakeTools(tmp_path / "fakes", monkeypatch)


@pytest.fixture(scope="session")
def engine_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an engine that answers; one of our own when WORKSHOP_TEST_DOCKERD asks for it."""
    if shutil.which("docker") is None:
        pytest.skip("Docker is not installed")
    with own_engine(tmp_path_factory.mktemp("dockerd")) as address:
        why = ask_engine(address)
        if why:
            pytest.skip(f"No Docker engine answers: {why}")
        yield address


@pytest.fixture
def real_engine(engine_address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Points `docker` at a real engine for one test."""
    if engine_address:
        monkeypatch.setenv("DOCKER_HOST", engine_address)
    return engine_address


@pytest.fixture
def image_names(real_engine: str) -> Iterator[list[str]]:
    """Names of images to remove from the real engine afterwards."""
    names: list[str] = []
    yield names
    if names:
        subprocess.run(["docker", "image", "rm", "--force", *names], capture_output=True, check=False)
