"""Bundles for use without a network: create one beforehand, and verify one before it is used."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from workshop.core.console import Progress
from workshop.core.errors import PreflightError
from workshop.lab.bundle.create import bundling
from workshop.lab.bundle.read import IMAGES, Manifest
from workshop.lab.bundle.read import verify as verify_file
from workshop.lab.cluster.images import Images
from workshop.lab.pins import Pins
from workshop.lab.tools.docker import Docker
from workshop.lab.tools.helm import Helm
from workshop.lab.tools.run import Runner

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class BundleReport:
    """A bundle: for what it is, what is in it, and the digests that were recorded."""

    file: str
    bytes: int
    manifest: Manifest


def create(target: Path, overrides: Mapping[str, str], progress: Progress, runner: Runner) -> BundleReport:
    """Make a bundle of everything a cluster needs, for this engine's platform."""
    target = target.expanduser().absolute()
    pins = replace(Pins.load(overrides), registry_mirror=None)  # there is no network to reach it
    docker = Docker(runner)
    docker.examine()
    proxy = pins.proxy_environment()
    with bundling(target, pins, docker, lambda home: Helm(runner, home, pins.ca_file, proxy)) as made:
        made.helm.examine()
        with progress.step("Fetch the charts") as step:
            made.add_charts(step.note)
        with progress.step("Pull and build the images") as step:
            Images(docker, pins, made.folder).fetch(IMAGES, step.note)
        with progress.step(f"Save the images for {docker.engine.platform}") as step:
            made.add_images(step.note)
        with progress.step(f"Write {target.name}") as step:
            manifest = made.write(target, step.note)
    return BundleReport(str(target), target.stat().st_size, manifest)


def verify(bundle: Path, progress: Progress, runner: Runner) -> BundleReport:
    """Check every digest of a bundle, and that this machine and this version can use it."""
    bundle = bundle.expanduser().absolute()
    with progress.step(f"Check {bundle.name}") as step:
        manifest = verify_file(bundle, _platform(runner), step.note)
    return BundleReport(str(bundle), bundle.stat().st_size, manifest)


def _platform(runner: Runner) -> str:
    """The engine's platform; the machine's where no engine answers."""
    try:
        return Docker(runner).examine().platform
    except PreflightError:
        machine = platform.machine().lower()
        return f"linux/{_ARCHITECTURES.get(machine, machine)}"
