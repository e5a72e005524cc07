"""Read a bundle that was created elsewhere; every name, length and digest is checked before use."""

import hashlib
import json
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Annotated, Any

from workshop import __version__
from workshop.core.errors import PreflightError, UsageError, WorkshopError, reason
from workshop.core.files import parsed_json, typed
from workshop.core.paths import make_private_dir
from workshop.core.text import one_line
from workshop.lab.pins import Archive, Pins, check_image, pinned

MANIFEST = "manifest.json"
MOST_MANIFEST_BYTES = 2**20
IMAGES = ("node_image", "operator", "proxy_runner", "mcp_server", "practice")
CHARTS = ("chart_crds", "chart_operator")
_FORMAT = 1
_FILE = re.compile(r"(?:images|charts)/[a-z0-9][a-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
Note = Callable[[str], None]
_CHUNK = 2**16  # a hostile chunk unpacks to a thousand times its size
_GZIP = zlib.MAX_WBITS + 16
_PACKED = ".gz"
Length = Annotated[int, range(1 << 63)]


@dataclass(frozen=True)
class File:
    """A member's SHA-256 digest and length in bytes; `unpacked` is the length of its content."""

    sha256: str
    size: Length
    unpacked: Length


@dataclass(frozen=True)
class BundledImage:
    """An image: its name in the cluster, its origin, the id that a node gives it, and its archive."""

    reference: str
    source: str
    image_id: str
    file: str


@dataclass(frozen=True)
class BundledChart:
    """A chart: its origin, and its archive."""

    source: str
    file: str


@dataclass(frozen=True)
class Manifest:
    """A bundle's contents, by the field names of Pins."""

    workshop: str
    toolhive: str
    platform: str
    created: str
    images: Mapping[str, BundledImage]
    charts: Mapping[str, BundledChart]
    files: Mapping[str, File]

    def text(self) -> bytes:
        """The manifest's JSON text."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=2).encode() + b"\n"


def parsed(text: bytes, name: str) -> Manifest:
    """Parse a manifest; raises UsageError for one that is incomplete or inconsistent."""
    try:
        return _read(parsed_json(text))
    except (ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise UsageError(
            f"`{name}` is not a bundle that this version can use",
            why=f"Its manifest is not valid: {one_line(str(error), 300)}",
            hint="Create it again: `workshop bundle create FILE`",
        ) from error


def _read(found: dict[str, Any]) -> Manifest:
    if (version := found.pop("format")) != _FORMAT:
        raise ValueError(f"its format is {version!r}, and this version supports {_FORMAT}")
    manifest = typed(Manifest, found)
    for image in manifest.images.values():  # it is used on command lines and in pods
        check_image(MANIFEST, image.reference)
    if set(manifest.images) != set(IMAGES) or set(manifest.charts) != set(CHARTS):
        raise ValueError("an image or a chart is missing")
    for name, file in manifest.files.items():
        if not _FILE.fullmatch(name) or not _DIGEST.fullmatch(file.sha256):
            raise ValueError(f"the entry of {name!r} is not valid")
    named = [image.file for image in manifest.images.values()]
    named += [chart.file for chart in manifest.charts.values()]
    if sorted(manifest.files) != sorted(named):
        raise ValueError("its files do not match its images and charts")
    return manifest


def verify(bundle: Path, platform: str | None, note: Note) -> Manifest:
    """Check every digest, and that the bundle is for this version and, if it is given, this platform.

    Raises UsageError for a damaged bundle or one of another version, PreflightError for another platform.
    """
    with _opened(bundle) as tar:
        manifest = _checked(bundle, _manifest(bundle, tar), platform)
        for name, member, file in _members(bundle, tar, manifest):
            note(name)
            _check(bundle, name, file, _chunks(member), None)
    return manifest


def open_bundle(bundle: Path, folder: Path, pins: Pins, platform: str, note: Note) -> Pins:
    """Verify a bundle while unpacking it into `folder`; return pins that need no network.

    A bundle that is already unpacked is used as it is, and its file may be absent: the stick is in the next
    laptop. What an interrupted or refused bundle left behind is removed.
    """
    if not bundle.exists() and (known := _unpacked_manifest(folder)):
        return _pins(_checked(bundle, known, platform), folder, pins)
    with _opened(bundle) as tar:
        manifest = _checked(bundle, _manifest(bundle, tar), platform)
        if not _is_unpacked(folder, manifest):
            _clear(folder, manifest)
            try:
                _unpack(bundle, tar, manifest, folder, note)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
    return _pins(manifest, folder, pins)


def _pins(manifest: Manifest, folder: Path, pins: Pins) -> Pins:
    images = manifest.images.values()
    given: dict[str, Any] = {name: image.reference for name, image in manifest.images.items()}
    given |= {name: str(folder / chart.file) for name, chart in manifest.charts.items()}
    return replace(
        pins,
        **given,
        registry_mirror=None,
        prebuilt=frozenset({"mcp_server", "practice"}),
        archives={image.reference: Archive(_target(folder, image.file), image.image_id) for image in images},
    )


def _checked(bundle: Path, manifest: Manifest, platform: str | None) -> Manifest:
    this, other = (__version__, pinned().toolhive_version), (manifest.workshop, manifest.toolhive)
    if this != other:
        raise UsageError(
            f"`{bundle.name}` is for another version",
            why="It is for workshop {} with ToolHive {}, and this is workshop {} with ToolHive {}".format(
                *other, *this
            ),
            hint="Create it again with this version: `workshop bundle create FILE`",
        )
    if platform is not None and manifest.platform != platform:
        raise PreflightError(
            f"`{bundle.name}` is for {manifest.platform}, and this machine needs {platform}",
            why="A bundle has the images of one platform",
            hint=f"Ask for the bundle for {platform}, or create one on such a machine",
        )
    return manifest


@contextmanager
def _opened(bundle: Path) -> Iterator[tarfile.TarFile]:
    if bundle.exists() and not bundle.is_file():  # a pipe would be waited for, a device read for ever
        raise UsageError(f"Cannot use `{bundle}`", why="It is not a regular file")
    try:
        with tarfile.open(bundle, "r:") as tar:  # an archive that is compressed as a whole is refused
            yield tar
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise _damaged(bundle, str(error) or "it ends too early") from error
    except OSError as error:
        raise UsageError(f"Cannot use `{bundle}`", why=reason(error)) from error


def _manifest(bundle: Path, tar: tarfile.TarFile) -> Manifest:
    first = tar.next()
    if first is None or first.name != MANIFEST or not first.isreg() or first.size > MOST_MANIFEST_BYTES:
        raise _damaged(bundle, "its first member is not its manifest")
    content = tar.extractfile(first)
    return parsed(content.read() if content else b"", bundle.name)


def _members(bundle: Path, tar: tarfile.TarFile, manifest: Manifest) -> Iterator[tuple[str, IO[bytes], File]]:
    """The members after the manifest: each exactly once, a plain file, and of the right length."""
    missing = dict(manifest.files)
    while (member := tar.next()) is not None:
        file = missing.pop(member.name, None)
        # A sparse member claims any size in a few bytes, and may have the type of a plain file (PAX format).
        if file is None or member.type != tarfile.REGTYPE or member.sparse or member.size != file.size:
            raise _damaged(bundle, f"{member.name!r} does not match its manifest")
        content = tar.extractfile(member)
        if content is not None:
            yield member.name, content, file
    if missing:
        raise _damaged(bundle, f"{', '.join(sorted(missing))} is missing")


def _unpacked_manifest(folder: Path) -> Manifest | None:
    """The manifest of the bundle that is unpacked in `folder`; None if it is incomplete."""
    try:
        manifest = parsed((folder / MANIFEST).read_bytes(), MANIFEST)
    except (OSError, UsageError):
        return None
    return manifest if _is_unpacked(folder, manifest) else None


def _is_unpacked(folder: Path, manifest: Manifest) -> bool:
    """Whether exactly this bundle is unpacked: its manifest is written last."""
    try:
        # The digests were checked while unpacking; hashing 800 MB again would delay each `up`.
        return (folder / MANIFEST).read_bytes() == manifest.text() and all(
            _target(folder, name).stat().st_size == file.unpacked for name, file in manifest.files.items()
        )
    except OSError:
        return False


def _clear(folder: Path, manifest: Manifest) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    make_private_dir(folder)
    needed = sum(file.unpacked for file in manifest.files.values())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise PreflightError(
            "There is not enough disk space to unpack the bundle",
            why=f"It needs {needed / 2**20:.0f} MB in `{folder}`, and {free / 2**20:.0f} MB are free",
            hint="Free some space, or set WORKSHOP_HOME to a folder on another disk",
        )


def _unpack(bundle: Path, tar: tarfile.TarFile, manifest: Manifest, folder: Path, note: Note) -> None:
    for name, member, file in _members(bundle, tar, manifest):
        note(name)
        target = _target(folder, name)
        make_private_dir(target.parent)
        with target.open("wb") as unpacked:
            _check(bundle, name, file, _chunks(member), unpacked)
    (folder / MANIFEST).write_bytes(manifest.text())


def _target(folder: Path, name: str) -> Path:
    """Where a member is unpacked to; image archives are decompressed, because older nodes read no others."""
    return folder / name.removesuffix(_PACKED)


def _check(bundle: Path, name: str, file: File, chunks: Iterator[bytes], unpacked: IO[bytes] | None) -> None:
    digest, length = hashlib.sha256(), 0
    inflate = zlib.decompressobj(_GZIP) if name.endswith(_PACKED) else None
    for chunk in chunks:
        digest.update(chunk)
        if unpacked is None:
            continue
        data = inflate.decompress(chunk) if inflate else chunk
        length += len(data)
        # At once: what a small archive unpacks to may be larger than the disk.
        if length > file.unpacked:
            raise _damaged(bundle, f"`{name}` unpacks to more bytes than its manifest states")
        unpacked.write(data)
    if digest.hexdigest() != file.sha256:
        raise _damaged(bundle, f"the digest of `{name}` is not the one in its manifest")
    if unpacked is not None and length != file.unpacked:
        raise _damaged(bundle, f"`{name}` unpacks to fewer bytes than its manifest states")


def _chunks(content: IO[bytes]) -> Iterator[bytes]:
    while chunk := content.read(_CHUNK):
        yield chunk


def _damaged(bundle: Path, why: str) -> WorkshopError:
    return UsageError(
        f"`{bundle.name}` is damaged, or is not a bundle",
        why=f"{why[0].upper()}{why[1:]}",
        hint="Copy it again, or create it again: `workshop bundle create FILE`",
    )
