"""Traces on disk: our own format in and out, and the other forms a trace can be written in."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workshop.core.errors import UsageError
from workshop.core.paths import write_private
from workshop.recorder.model import FORMAT, VERSION, Trace

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MOST_BYTES = 64 * 1024 * 1024


def to_json(trace: Trace) -> str:
    """Our own format, for `trace explain` and `trace render`."""
    return json.dumps(asdict(trace), indent=1, ensure_ascii=False) + "\n"


def _to_html(trace: Trace) -> str:
    from workshop.recorder.page import to_html

    return to_html(trace)


def _to_har(trace: Trace) -> str:
    from workshop.recorder.har import to_har

    return to_har(trace)


WRITERS: dict[str, Callable[[Trace], str]] = {".html": _to_html, ".json": to_json, ".har": _to_har}


def check_targets(paths: Sequence[Path]) -> None:
    """Raise UsageError, before anything runs, for a file that could not be written in the end."""
    for path in paths:
        if path.suffix.lower() not in WRITERS:
            raise UsageError(
                f"`{path}` is no form of a trace",
                why=f"The ending chooses it: {', '.join(WRITERS)}",
                hint="Write `--trace trace.html`",
            )
        if path.is_dir() or not path.absolute().parent.is_dir():
            why = "It is a folder" if path.is_dir() else "Its folder does not exist"
            raise UsageError(f"Cannot write the trace to `{path}`", why=why)


def write(trace: Trace, path: Path) -> None:
    """Write a trace in the form its file's ending asks for, readable by its owner only."""
    text = WRITERS[path.suffix.lower()](trace)
    try:
        write_private(path, text.encode("utf-8", "replace"))
    except OSError as error:
        raise UsageError(f"Cannot write the trace to `{path}`", why=error.strerror or str(error)) from error


def read(path: Path) -> Trace:
    """Read our own format; raises UsageError for anything else."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _not_a_trace(path, "It is far too large")
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"Cannot read `{path}`", why=error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise _not_a_trace(path, "It is not JSON") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise _not_a_trace(path, f"Its `format` is not `{FORMAT}`")
    if data.get("version") != VERSION:
        raise _not_a_trace(path, "Another version of `workshop` wrote it")
    try:
        return from_data(data)
    except ValueError as error:
        raise _not_a_trace(path, " ".join(str(error).split())[:160]) from error


def from_data(data: Any) -> Trace:  # noqa: ANN401 - checked here
    """A trace from plain data; raises ValueError where it does not fit."""
    return _adapter().validate_python(data)


@cache
def _adapter() -> "TypeAdapter[Trace]":
    from pydantic import TypeAdapter

    return TypeAdapter(Trace)


def _not_a_trace(path: Path, why: str) -> UsageError:
    return UsageError(
        f"`{path}` is not a trace of ours", why=why, hint="`workshop part 4 run --trace trace.json` makes one"
    )
