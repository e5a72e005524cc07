"""A bundle made by the real code with an engine that is played, and the means to damage it."""

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.lab.cluster.fake_engine import FakeEngine
from tests.lab.tools.fakes import FakeTools
from workshop.lab.bundle.create import bundling
from workshop.lab.pins import Pins, pinned
from workshop.lab.tools.clusters import Helm
from workshop.lab.tools.docker import Docker
from workshop.lab.tools.run import Runner

Members = list[tuple[tarfile.TarInfo, bytes]]
NODE = f"workshop/kind-node:v1.35.8-{pinned().node_image.partition('sha256:')[2][:12]}"


def quiet(_told: str) -> None:
    pass


def make_bundle(target: Path, pins: Pins) -> None:
    """Make a bundle by the real code, with the engine that is on the PATH."""
    runner = Runner()
    with bundling(target, pins, Docker(runner), lambda home: Helm(runner, home)) as made:
        made.add_charts(quiet)
        made.add_images(quiet)
        made.write(target, quiet)


def play_engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    engine = FakeEngine(FakeTools(folder / "fakes", monkeypatch))
    references = [NODE, *pinned().images()]
    engine.saves({reference: f"sha256:{index:064d}" for index, reference in enumerate(references)})
    return engine


def with_charts(folder: Path) -> Pins:
    charts: dict[str, Any] = {}
    for name in ("chart_crds", "chart_operator"):
        path = folder / f"{name}.tgz"
        path.write_bytes(f"{name}, packed".encode())
        charts[name] = str(path)
    return replace(pinned(), **charts)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    return play_engine(tmp_path, monkeypatch)


@pytest.fixture
def pins(tmp_path: Path) -> Pins:
    return with_charts(tmp_path)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole bundle for linux/amd64, made once: each of its steps runs programs."""
    folder = tmp_path_factory.mktemp("bundle")
    with pytest.MonkeyPatch.context() as monkeypatch:
        play_engine(folder, monkeypatch)
        make_bundle(folder / "lab.bundle", with_charts(folder))
    return (folder / "lab.bundle").read_bytes()


@pytest.fixture
def bundle(whole: bytes, tmp_path: Path) -> Path:
    """A copy of that bundle, alone in its folder."""
    target = tmp_path / "usb" / "lab.bundle"
    target.parent.mkdir()
    target.write_bytes(whole)
    return target


def members(bundle: Path) -> Members:
    """Everything in a bundle."""
    with tarfile.open(bundle) as tar:
        return [(member, held.read()) for member in tar if (held := tar.extractfile(member))]


def rewrite(bundle: Path, changed: Sequence[tuple[tarfile.TarInfo, bytes]]) -> None:
    """Write a bundle anew with these members."""
    with tarfile.open(bundle, "w:") as tar:
        for member, data in changed:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def with_manifest(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what a bundle says of itself."""
    (first, text), *others = members(bundle)
    told = json.loads(text)
    change(told)
    rewrite(bundle, [(first, json.dumps(told).encode()), *others])
