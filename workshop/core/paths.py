"""The directories of the tutorial's parts, of the cluster's files, and of the user's state."""

import contextlib
import os
import tempfile
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def parts_dir() -> Path:
    """The tutorial's parts: inside the package in a wheel, beside it in a checkout."""
    inside = _PACKAGE / "parts"
    return inside if inside.is_dir() else _PACKAGE.parent / "parts"


def cluster_dir() -> Path:
    """The cluster's files: inside the package in a wheel, beside it in a checkout."""
    inside = _PACKAGE / "cluster"
    return inside if inside.is_dir() else _PACKAGE.parent / "cluster"


def checkout_dir() -> Path | None:
    """The checkout that this package runs from; None if it was installed from a wheel."""
    root = _PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "parts").is_dir() else None


def state_home() -> Path:
    """The state directory: `WORKSHOP_HOME`, else the system's state directory for the user."""
    override = os.environ.get("WORKSHOP_HOME")
    if override:
        return Path(override).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_state_dir("workshop", appauthor=False))


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, atomically (write, then replace)."""
    make_private_dir(path.parent)
    _replace(path, data, 0o600)


def replace_text(path: Path, text: str) -> None:
    """Write one of the user's own files atomically; an existing file keeps its mode."""
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, text.encode(), path.stat().st_mode & 0o777 if path.exists() else 0o644)


def _replace(path: Path, data: bytes, mode: int) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def make_private_dir(path: Path) -> None:
    """Create a directory and its missing parents, accessible only to their owner."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
