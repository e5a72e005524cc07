"""How the workshop's images are built: their files, base images and build arguments."""

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from workshop.core import paths
from workshop.core.errors import UsageError
from workshop.lab.pins import Pins

LABEL = "workshop.made-of"
BASE_LABEL = "workshop.base"  # the base image's id at the time of the build
TRUSTING = "workshop/python-trusting:"
_PACKAGE = Path(paths.__file__).parents[1]
_INDEX_VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST")
_COPY = re.compile(r"^COPY +(?P<names>.+?) +\S+$", re.MULTILINE)
_TAKES_MORE = re.compile(r"^ADD |^COPY +\[|^RUN .*--mount", re.MULTILINE)  # what `_COPY` does not cover
# An index that a container reaches without a password; uv may give it a name.
_OPEN_INDEX = re.compile(r"(?:[\w-]+=)?(https?://(?!localhost\b|127\.)[^@\s]+)")
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")


@dataclass(frozen=True)
class Recipe:
    """An image to build: `files` is its context, by name; `folder` is set if they are all in one folder."""

    tag: str
    base: str
    dockerfile: Path
    files: Mapping[str, Path]
    argument: str  # the build argument that names the base
    folder: Path | None = None

    def made_of(self) -> str:
        """A digest of everything in the image except its base: an image with the same digest needs no build.

        Proxies and package indexes are not part of it: each package is pinned, so another network gives the
        same image.
        """
        digest = hashlib.sha256(f"{self.tag} {self.argument}={self.base}".encode())
        for name, path in {"": self.dockerfile, **self.files}.items():
            digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    @contextlib.contextmanager
    def context(self) -> Iterator[Path]:
        """A folder with the files, for as long as the build takes."""
        if self.folder:
            yield self.folder
            return
        with tempfile.TemporaryDirectory(prefix="workshop-build-") as folder:
            for name, path in self.files.items():
                target = Path(folder, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            yield Path(folder)


def recipes_for(name: str, pins: Pins) -> list[Recipe]:
    """What to build, in order, for the image of this field of Pins; nothing for an image that is pulled."""
    if name in pins.prebuilt or name not in {"mcp_server", "practice"}:
        return []
    if name == "practice":
        return [*recipes_for("mcp_server", pins), _practice(pins)]
    if pins.ca_file is None:
        return [_mcp_server(pins, pins.python)]
    trusting = _trusting(pins, pins.ca_file)
    return [trusting, _mcp_server(pins, trusting.tag)]


def build_arguments(recipe: Recipe, pins: Pins) -> dict[str, str]:
    """The build's arguments: its base, and the proxy and the package index of this network.

    Raises UsageError for an index with a password, because the image would record it.
    """
    spellings = [*_INDEX_VARIABLES, *_PROXY_VARIABLES, *(name.lower() for name in _PROXY_VARIABLES)]
    found = {name: os.environ[name] for name in spellings if os.environ.get(name)}
    index_url = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL") or ""
    if index := _OPEN_INDEX.fullmatch(index_url):  # the index that this project was installed from
        found.setdefault("PIP_INDEX_URL", index[1])
    for name in _INDEX_VARIABLES:
        if "@" in found.get(name, ""):
            raise UsageError(
                f"{name} contains a password",
                why="An image records the arguments that it was built with",
                hint="Use an index without one, or a built image: `workshop up --override mcp-server=IMAGE`",
            )
    return {recipe.argument: recipe.base, **found, **pins.proxy_environment()}


def build_network() -> str | None:
    """The network for builds, if the engine's own has no way out: `WORKSHOP_BUILD_NETWORK=host`."""
    return os.environ.get("WORKSHOP_BUILD_NETWORK") or None


def _mcp_server(pins: Pins, base: str) -> Recipe:
    folder = paths.parts_dir() / "02_local_mcp"
    dockerfile = paths.parts_dir() / "03_toolhive" / "Dockerfile"
    files = _copied(dockerfile.read_text(encoding="utf-8"), _files_below(folder))
    return Recipe(pins.mcp_server, base, dockerfile, files, "PYTHON_IMAGE", folder)


def _practice(pins: Pins) -> Recipe:
    folder = paths.cluster_dir() / "practice"
    files = {f"workshop/{path}": _PACKAGE / path for path in ("__init__.py", "servers/__init__.py")}
    for package in ("core", "servers/practice"):
        found = _files_below(_PACKAGE / package).items()
        files |= {f"workshop/{package}/{path}": file for path, file in found}
    files["requirements.txt"] = folder / "requirements.txt"
    return Recipe(pins.practice, pins.mcp_server, folder / "Dockerfile", files, "MCP_SERVER_IMAGE")


def _trusting(pins: Pins, certificate: Path) -> Recipe:
    dockerfile = paths.cluster_dir() / "trusting" / "Dockerfile"
    name = hashlib.sha256(pins.python.encode() + certificate.read_bytes()).hexdigest()[:12]
    return Recipe(
        f"{TRUSTING}{name}",
        pins.python,
        dockerfile,
        {"ca.crt": certificate},
        "PYTHON_IMAGE",
    )


def _copied(dockerfile: str, files: Mapping[str, Path]) -> Mapping[str, Path]:
    """The files that a Dockerfile copies from its context; all files if it cannot be determined."""
    lines = re.sub(r"\\\n\s*", " ", dockerfile)
    names = {name for found in _COPY.finditer(lines) for name in found["names"].split()}
    if _TAKES_MORE.search(lines) or not names <= files.keys():
        return files
    return {name: path for name, path in files.items() if name in {*names, ".dockerignore"}}


def _files_below(folder: Path) -> dict[str, Path]:
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(folder).as_posix(): path for path in found}
