"""What is shown of an unforeseen error: one short message, and a log file without secrets."""

import contextlib
import errno
import platform
import sys
import sysconfig
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from workshop import __version__
from workshop.core.collector import rare_collections
from workshop.core.errors import INTERRUPTED, PreflightError, UsageError, WorkshopError, reason
from workshop.core.invocation import runnable
from workshop.core.paths import current_dir, parts_dir, state_home, write_private
from workshop.core.redaction import known_secrets, redacted
from workshop.core.streams import prepare_streams
from workshop.core.text import one_line, unbroken

_PACKAGE = Path(__file__).resolve().parents[1]
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_SHOWN_LIBRARIES = ("mcp", "httpx2", "typer", "rich", "pydantic", "starlette", "uvicorn", "kubernetes")
_MOST_SHOWN = 300
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def short_error(error: Exception, command: Sequence[str], hidden: Iterable[str] = ()) -> WorkshopError:
    """The error that a person is shown in place of any exception.

    A WorkshopError is returned as it is. An error of the file system names the file. An error in a learner's
    code names its line. Any other is a bug. The last two are logged with the arguments `command`; the log has
    neither the secrets of this machine nor the values in `hidden`.
    """
    if isinstance(error, WorkshopError):
        return error
    if isinstance(error, FileNotFoundError) and current_dir() is None:
        return UsageError("The current folder no longer exists", hint="Go to another one: `cd`")
    if isinstance(error, OSError) and error.filename and _is_about_files(error):
        return _of_file(error)
    log = _write_log(error, command, hidden)
    details = f"The details, without secrets, are in `{log}`" if log else "No log of it could be written"
    text = _masked_text(error, hidden)
    if line := _learners_line(error):
        return WorkshopError(f"{line}: {text}", why=details, hint="Correct that line, and try again")
    return WorkshopError(
        f"This is a bug in `workshop`: {text}",
        why=details,
        hint="Report it: `workshop report` puts this log and the state of this machine into one file to send",
    )


def run_program(act: Callable[[], object]) -> int:
    """Run what `python -m` or a supervisor starts, and return its exit code; an error is shown on stderr."""
    prepare_streams()
    try:
        with rare_collections():
            act()
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - every error becomes a few lines
        shown = short_error(error, sys.argv)
        hint = runnable(shown.hint) if sys.stderr.isatty() else shown.hint  # stays plain in a log file
        lines = (
            f"Error: {shown.what}",
            shown.why and f"  {shown.why}",
            hint and f"  Hint: {hint}",
        )
        sys.stderr.write("".join(f"{line}\n" for line in lines if line))
        return shown.exit_code
    return 0


def crash_logs() -> list[Path]:
    """The logs that were written so far, the oldest first."""
    return sorted(_crashes().glob("*.txt"))


def _is_about_files(error: OSError) -> bool:
    return not isinstance(error, ConnectionError | TimeoutError | ChildProcessError)


def _of_file(error: OSError) -> WorkshopError:
    """An error of the file system; it is this machine that has to change."""
    file = Path(str(error.filename))
    hint = "Free some space on that disk" if error.errno in _FULL else "Check the file and its folder"
    with contextlib.suppress(WorkshopError, OSError):
        if file.is_relative_to(state_home()):
            hint = f"{hint}, or set WORKSHOP_HOME to another folder that you may write to"
    return PreflightError(f"Cannot use `{unbroken(str(file))}`", why=reason(error), hint=hint)


def _write_log(error: Exception, command: Sequence[str], hidden: Iterable[str]) -> Path | None:
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{type(error).__name__}.txt"
    try:
        text = _log_text(error, command, [*known_secrets(None), *hidden])
    except Exception:  # noqa: BLE001 - without the secrets nothing can be masked: log only lines of code
        text = "".join(traceback.format_tb(error.__traceback__))
    # The state directory may be the very thing that cannot be written.
    for folder in (_crashes, _temporary):
        try:
            path = folder() / name
            write_private(path, text.encode("utf-8", "replace"))
        except (OSError, WorkshopError):
            continue
        return path
    return None


def _crashes() -> Path:
    return state_home() / "crashes"


def _temporary() -> Path:
    return Path(tempfile.mkdtemp(prefix="workshop-"))


def _log_text(error: Exception, command: Sequence[str], hidden: Iterable[str]) -> str:
    head = (
        f"workshop {__version__}, Python {platform.python_version()}, {', '.join(_versions())}",
        platform.platform(),
        " ".join(command),
        "",
    )
    return redacted("\n".join(head) + "".join(traceback.format_exception(error)), hidden)


def _versions() -> Iterable[str]:
    import importlib.metadata  # a third of what this module would otherwise load

    for name in _SHOWN_LIBRARIES:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            yield f"{name} is not installed"


def _masked_text(error: Exception, hidden: Iterable[str]) -> str:
    """The type and message of an error on one line, without secrets."""
    message = str(error.msg if isinstance(error, SyntaxError) else error)
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    try:
        secrets = [*known_secrets(None), *hidden]
    except Exception:  # noqa: BLE001 - as in the log
        return type(error).__name__
    return one_line(redacted(text, secrets), _MOST_SHOWN)


def _learners_line(error: Exception) -> str:
    """The file and line of a learner's own code that raised this; "" if it was raised anywhere else."""
    if isinstance(error, SyntaxError) and error.filename and _is_learners(error.filename):
        return f"`{Path(error.filename).name}`, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    # Code without a file has a name such as `<frozen importlib._bootstrap>`.
    own = [frame for frame in frames if not frame.filename.startswith((*_LIBRARIES, "<"))]
    # The innermost frame decides: an error inside `workshop` is a bug, even if a learner's line called it.
    if not own or not _is_learners(own[-1].filename):
        return ""
    return f"`{Path(own[-1].filename).name}`, line {own[-1].lineno}"


def _is_learners(filename: str) -> bool:
    file = Path(filename)
    if file.is_relative_to(parts_dir()):
        return True
    return file.is_file() and not file.is_relative_to(_PACKAGE) and not filename.startswith(_LIBRARIES)
