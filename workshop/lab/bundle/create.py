"""Create a bundle: images of one platform, packed behind a manifest with their digests; and verify one."""

import contextlib
import datetime as dt
import hashlib
import io
import platform
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from workshop import __version__
from workshop.core.console import Progress
from workshop.core.errors import PreflightError, UsageError, WorkshopError, reason
from workshop.lab.bundle.read import (
    CHARTS,
    IMAGES,
    MANIFEST,
    BundledChart,
    BundledImage,
    File,
    Manifest,
    verify,
)
from workshop.lab.cluster.images import Images
from workshop.lab.pins import Pins
from workshop.lab.tools.clusters import Helm
from workshop.lab.tools.docker import Docker, image_ids
from workshop.lab.tools.engine import ARCHITECTURES
from workshop.lab.tools.run import Runner

Note = Callable[[str], None]
_CHUNK = 2**20
_FASTEST = 1  # level 6 saves a tenth of the size and takes four times as long, measured
_GZIP = zlib.MAX_WBITS + 16  # 16 selects the gzip format (zlib.h, deflateInit2)
_WORK = ".workshop-bundle-"
_LOCK = "lock"


@dataclass
class Bundling:
    """A bundle in the making: each step adds its files to the folder, and `write` packs them into one."""

    pins: Pins
    docker: Docker
    helm: Helm
    folder: Path
    images: dict[str, BundledImage] = field(default_factory=dict)
    charts: dict[str, BundledChart] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)

    def add_charts(self, note: Note) -> None:
        """Fetch both charts as archives; raises UsageError for a chart that is a folder."""
        for name in CHARTS:
            source = str(getattr(self.pins, name))
            note(source)
            path = self.helm.pull(source, self.pins.toolhive_version, self.folder / "pulled")
            if not path.is_file():
                raise UsageError(
                    f"`{source}` is a folder, but a bundle needs charts as archives",
                    hint="Pack it with `helm package FOLDER` and name the .tgz",
                )
            member = f"charts/{name}.tgz"
            self.files[member] = _copy(path, self._path(member))
            self.charts[name] = BundledChart(source, member)

    def add_images(self, note: Note) -> None:
        """Save and pack each image; the engine must have them all."""
        for name in IMAGES:
            source = str(getattr(self.pins, name))
            note(source)
            reference = self._tagged(source)
            archive = self.folder / "image.tar"
            self.docker.save([reference], archive, self.docker.engine.platform)
            (image_id,) = image_ids(archive).values()
            member = f"images/{name}.tar.gz"
            self.files[member] = _pack(archive, self._path(member))
            archive.unlink()
            self.images[name] = BundledImage(reference, source, image_id, member)

    def write(self, target: Path, note: Note) -> Manifest:
        """Write the complete bundle, or nothing."""
        manifest = Manifest(
            workshop=__version__,
            toolhive=self.pins.toolhive_version,
            platform=self.docker.engine.platform,
            created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            images=self.images,
            charts=self.charts,
            files=self.files,
        )
        part = self.folder / "bundle.tar"
        # Not compressed as a whole, which `read` refuses: each image's archive is compressed.
        with tarfile.open(part, "w:", format=tarfile.PAX_FORMAT) as tar:
            # First, so that a bundle for another machine is refused before a gigabyte is read.
            _add(tar, MANIFEST, manifest.text())
            for member in self.files:
                note(member)
                tar.add(self._path(member), member, recursive=False, filter=_anonymous)
        part.replace(target)  # a killed `bundle create` leaves no half bundle under this name
        return manifest

    def _path(self, member: str) -> Path:
        path = self.folder / member
        path.parent.mkdir(exist_ok=True)
        return path

    def _tagged(self, source: str) -> str:
        """A reference that survives saving and loading: a digest does not, so it becomes part of a tag."""
        name, _, digest = source.partition("@sha256:")
        if not digest:
            return source
        version = name.rpartition(":")[2] if ":" in name.rpartition("/")[2] else "0"
        reference = f"workshop/kind-node:{version}-{digest[:12]}"
        self.docker.tag(source, reference)
        return reference


@contextlib.contextmanager
def bundling(
    target: Path, pins: Pins, docker: Docker, helm_for: Callable[[Path], Helm]
) -> Iterator[Bundling]:
    """Make a bundle in a folder beside `target`; raises UsageError when it cannot be written there."""
    if target.exists():
        raise UsageError(f"`{target}` already exists", hint="Remove it, or name another file")
    _clear(target.parent)
    try:
        # Beside the target, because a rename is atomic only within one file system.
        folder = tempfile.TemporaryDirectory(dir=target.parent, prefix=_WORK)
    except OSError as error:
        raise UsageError(f"Cannot write `{target}`", why=reason(error)) from error
    with folder as name, FileLock(Path(name) / _LOCK):
        try:
            yield Bundling(pins, docker, helm_for(Path(name) / "helm"), Path(name))
        except OSError as error:
            raise WorkshopError(f"Cannot write `{target}`", why=reason(error)) from error


@dataclass(frozen=True)
class BundleReport:
    """A bundle: its file, its size, and its manifest with every digest."""

    file: str
    bytes: int
    manifest: Manifest


def create_bundle(
    target: Path, overrides: Mapping[str, str], progress: Progress, runner: Runner
) -> BundleReport:
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


def verify_bundle(bundle: Path, progress: Progress, runner: Runner) -> BundleReport:
    """Check every digest of a bundle, and that this machine and this version can use it."""
    bundle = bundle.expanduser().absolute()
    with progress.step(f"Check {bundle.name}") as step:
        manifest = verify(bundle, _platform(runner), step.note)
    return BundleReport(str(bundle), bundle.stat().st_size, manifest)


def _platform(runner: Runner) -> str:
    """The engine's platform, or the machine's if no engine answers."""
    try:
        return Docker(runner).examine().platform
    except PreflightError:
        machine = platform.machine().lower()
        return f"linux/{ARCHITECTURES.get(machine, machine)}"


def _clear(beside: Path) -> None:
    """Remove the folder, up to 2 GB, of a `bundle create` that was killed: its lock is free."""
    for left in beside.glob(f"{_WORK}*/{_LOCK}"):
        with contextlib.suppress(Timeout, OSError), FileLock(left, blocking=False):
            shutil.rmtree(left.parent, ignore_errors=True)


def _copy(source: Path, target: Path) -> File:
    data = source.read_bytes()
    target.write_bytes(data)
    return File(hashlib.sha256(data).hexdigest(), len(data), len(data))


def _pack(source: Path, target: Path) -> File:
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as plain, target.open("wb") as packed:
        for data in _deflated(plain):
            digest.update(data)
            size += packed.write(data)
    return File(digest.hexdigest(), size, source.stat().st_size)


def _deflated(plain: IO[bytes]) -> Iterator[bytes]:
    deflate = zlib.compressobj(_FASTEST, wbits=_GZIP)
    while chunk := plain.read(_CHUNK):
        yield deflate.compress(chunk)
    yield deflate.flush()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Remove user names and times, which identify the person who made the bundle."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member
