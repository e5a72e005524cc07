"""What a bundle says of itself: `manifest.json`, its first member, with the digest of every other."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from workshop.core.console import plain
from workshop.core.errors import UsageError
from workshop.lab.source_values import CHECKS

MANIFEST = "manifest.json"
MOST_MANIFEST_BYTES = 2**20
IMAGES = ("node_image", "operator", "proxy_runner", "mcp_server", "practice")
CHARTS = ("chart_crds", "chart_operator")
_FORMAT = 1
_FILE = re.compile(r"(?:images|charts)/[a-z0-9][a-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class File:
    """A member's digest and length; `unpacked` is the length of what is in it."""

    sha256: str
    size: int
    unpacked: int


@dataclass(frozen=True)
class BundledImage:
    """An image: its name in the cluster, where it came from, the id a node gives it, and its archive."""

    reference: str
    source: str
    image_id: str
    file: str


@dataclass(frozen=True)
class BundledChart:
    """A chart: where it came from, and its archive."""

    source: str
    file: str


@dataclass(frozen=True)
class Manifest:
    """A bundle's contents, by the names of the fields of Sources."""

    workshop: str
    toolhive: str
    platform: str
    created: str
    images: Mapping[str, BundledImage]
    charts: Mapping[str, BundledChart]
    files: Mapping[str, File]

    def text(self) -> bytes:
        """The manifest as it is written."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=2).encode() + b"\n"


def parsed(text: bytes, name: str) -> Manifest:
    """The manifest in this text; raises UsageError for anything that is not one, whole and consistent."""
    try:
        return _read(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"`{name}` is no bundle that this version can use",
            why=f"Its manifest does not read: {plain(str(error))}",
            hint="Make it again: `workshop bundle create FILE`",
        ) from error


def _read(told: dict[str, Any]) -> Manifest:
    if told["format"] != _FORMAT:
        raise ValueError(f"it has format {told['format']!r}, and {_FORMAT} is the one we know")
    images = {name: BundledImage(**_texts(image)) for name, image in told["images"].items()}
    charts = {name: BundledChart(**_texts(chart)) for name, chart in told["charts"].items()}
    files = {name: _file(name, **file) for name, file in told["files"].items()}
    for image in images.values():  # it goes on command lines, and into pods
        _check_reference(image.reference)
    if set(images) != set(IMAGES) or set(charts) != set(CHARTS):
        raise ValueError("an image or a chart is missing")
    named = [image.file for image in images.values()] + [chart.file for chart in charts.values()]
    if sorted(files) != sorted(named):
        raise ValueError("its files are not those of its images and charts")
    heading = _texts({key: told[key] for key in ("workshop", "toolhive", "platform", "created")})
    return Manifest(**heading, images=images, charts=charts, files=files)


def _check_reference(reference: str) -> None:
    try:
        CHECKS["operator"](MANIFEST, reference)
    except UsageError as error:
        raise ValueError(error.what) from error


def _file(name: str, sha256: str, size: int, unpacked: int) -> File:
    lengths = all(type(length) is int and length >= 0 for length in (size, unpacked))
    if not _FILE.fullmatch(name) or not _DIGEST.fullmatch(sha256) or not lengths:
        raise ValueError(f"the entry of {name!r} is wrong")
    return File(sha256, size, unpacked)


def _texts(told: dict[str, Any]) -> dict[str, str]:
    if not all(isinstance(value, str) for value in told.values()):
        raise TypeError("a text is missing")
    return told
