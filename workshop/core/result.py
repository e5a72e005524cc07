"""What a command returns: data for `--json`, and the lines and table a person reads."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass

from workshop.core.errors import WorkshopError, code_of

ENVELOPE_VERSION = 1


@dataclass(frozen=True)
class Table:
    """Rows under headings; cells are plain text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""


@dataclass(frozen=True)
class Point:
    """One line of a checklist: its mark (such as ✓ or ✗), its text, and indented lines of detail."""

    mark: str
    text: str
    details: Sequence[str] = ()


def sentences(lines: Iterable[str]) -> list[Point]:
    """Lines to read, not to copy: a terminal breaks them between words, and never inside one."""
    return [Point(first, rest) for first, _, rest in (line.partition(" ") for line in lines)]


@dataclass(frozen=True)
class Result:
    """The outcome of one command; `headline` is the answer, `next` the command to run now."""

    command: str
    data: object = None
    headline: str = ""
    lines: Sequence[str] = ()
    table: Table | None = None
    markdown: str = ""
    next: str = ""
    exit_code: int = 0
    points: Sequence[Point] = ()


def envelope(result: Result) -> str:
    """The versioned JSON envelope of a result: version, command, status, exit_code, data, next.

    It also has `error` (code, what, why, hint) if the exit code is not 0.
    """
    fields: dict[str, object] = {"data": _jsonable(result.data), "next": result.next}
    if result.exit_code:
        what = result.headline or "Some checks did not pass; `data` lists them"
        fields["error"] = {"code": code_of(result.exit_code), "what": what, "why": "", "hint": result.next}
    # A failed check has data too, so its envelope has `data` and `error`.
    status = "error" if result.exit_code else "success"
    return _dump(command=result.command, status=status, exit_code=result.exit_code, **fields)


def error_envelope(command: str, error: WorkshopError) -> str:
    """The same envelope for a command that raised one of our errors."""
    shown = {"code": error.code, "what": error.what, "why": error.why, "hint": error.hint}
    return _dump(command=command, status="error", exit_code=error.exit_code, error=shown)


def _dump(**fields: object) -> str:
    return json.dumps({"version": ENVELOPE_VERSION, **fields}, indent=2, default=str)


def _jsonable(data: object) -> object:
    # `is_dataclass` is also true of the class itself.
    if is_dataclass(data) and not isinstance(data, type):
        return asdict(data)
    if isinstance(data, Mapping):
        return {key: _jsonable(value) for key, value in data.items()}
    if isinstance(data, Sequence) and not isinstance(data, str):
        return [_jsonable(value) for value in data]
    return data
