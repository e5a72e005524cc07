"""The directories of the tutorial's parts, of the cluster's files, and of the user's state."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from workshop.core.errors import UsageError, WorkshopError, reason

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
    """The state directory: `WORKSHOP_HOME`, else the system's state directory for the user.

    Raises UsageError for a `~NAME` that has no home folder.
    """
    override = os.environ.get("WORKSHOP_HOME")
    if override:
        try:
            return Path(override).expanduser().absolute()
        except RuntimeError as error:
            hint = "Write the whole path, without `~`"
            raise UsageError("WORKSHOP_HOME names the home of an unknown user", hint=hint) from error
    import platformdirs

    return Path(platformdirs.user_state_dir("workshop", appauthor=False))


def current_dir() -> Path | None:
    """The current folder; None if it has been deleted."""
    try:
        return Path.cwd()
    except OSError:
        return None


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, atomically (write, then replace)."""
    make_private_dir(path.parent)
    _replace(path, data, 0o600)


def check_writable(path: Path, what: str) -> None:
    """Raise UsageError for a file that a command cannot write; `what` is its content, as in "trace"."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        why = "It is a folder" if path.is_dir() else "Its folder does not exist"
        raise UsageError(f"Cannot write the {what} to `{path}`", why=why)


def write_result(path: Path, text: str, what: str) -> None:
    """Write a command's result for its owner alone; raises UsageError if that fails."""
    try:
        write_private(path, text.encode("utf-8", "replace"))
    except OSError as error:
        raise UsageError(f"Cannot write the {what} to `{path}`", why=reason(error)) from error


def replace_file(path: Path, data: bytes) -> None:
    """Write one of the user's own files atomically; an existing file keeps its mode."""
    # A person's configuration may be a symbolic link, which the rename would replace.
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, data, path.stat().st_mode & 0o777 if path.exists() else 0o644)


def create_file(path: Path, data: bytes) -> None:
    """Write a file that must not exist yet, whole or not at all; raises FileExistsError if it does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file, _removed_on_error(path, path):
        file.write(data)
        file.flush()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """A text file that is written little by little, and takes its name when the block ends without error."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with _removed_on_error(Path(name), path):
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            yield file
        # `mkstemp` lets only the owner read it, and this file is meant to be passed on.
        Path(name).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        Path(name).replace(path)


# The copy is in the same folder, because a rename is atomic only within one file system.
def _replace(path: Path, data: bytes, mode: int) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with _removed_on_error(Path(name), path):
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        # Before the rename, so that nobody reads the new content with other rights.
        Path(name).chmod(mode)
        Path(name).replace(path)


@contextlib.contextmanager
def _removed_on_error(written: Path, wanted: Path) -> Iterator[None]:
    """Remove the file `written` if the block fails; a full disk is then an error of the file `wanted`."""
    try:
        yield
    # Also after Ctrl-C: half a file must not stay behind.
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            written.unlink()
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, str(written)):
            raise OSError(error.errno, error.strerror, str(wanted)) from error
        raise


@contextlib.contextmanager
def locked(path: Path, seconds: float, busy: WorkshopError, *, needed: bool = True) -> Iterator[None]:
    """Hold the lock file `path` in the block; raises `busy` if another process has it for so many seconds.

    Where no lock can be written, such as on a full disk, it raises OSError only if the lock is `needed`.
    """
    from filelock import FileLock, Timeout

    guard = FileLock(path, timeout=seconds)
    try:
        make_private_dir(path.parent)
        guard.acquire()
    except Timeout as error:
        raise busy from error
    except OSError:
        if needed:
            raise
    try:
        yield
    finally:
        guard.release()


def make_private_dir(path: Path) -> None:
    """Create a directory and its missing parents, accessible only to their owner."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    # One by one: `mkdir(parents=True)` gives the mode to the last folder only.
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
