"""What `part.toml` says to the agent."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from workshop.agent.plan import Plan, parse_plans
from workshop.core.errors import UsageError


@dataclass(frozen=True)
class Timeouts:
    """How long to wait, in seconds: for a person's approval, for one MCP request, for one model reply."""

    approval: float = 300
    call: float = 30
    model: float = 120


@dataclass(frozen=True)
class Part:
    """One part of the tutorial, as far as running it goes."""

    directory: Path
    title: str
    question: str
    plans: tuple[Plan, ...]
    timeouts: Timeouts

    @classmethod
    def load(cls, directory: Path) -> "Part":
        """Read `part.toml` of a part's folder; raises UsageError naming what is wrong with it."""
        path = directory / "part.toml"
        data = _read(path)
        title, question = _text(data, "title", path), _text(data, "question", path)
        plans = parse_plans(data.get("rehearsal", []), f"`{path}`")
        return cls(directory, title, question, plans, _timeouts(data.get("timeouts", {}), path))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read `{path}`", why=error.strerror or str(error)) from error
    except ValueError as error:
        raise UsageError(f"`{path}` is not TOML", why=str(error)) from error


def _text(data: Mapping[str, Any], key: str, path: Path) -> str:
    value = data.get(key)
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"`{path}` has no `{key}`")
    return value


def _timeouts(table: object, path: Path) -> Timeouts:
    if not isinstance(table, dict):
        raise UsageError(f"`timeouts` in `{path}` is not a table")
    known = {field.name for field in fields(Timeouts)}
    chosen = {name: value for name, value in table.items() if name in known}
    for name, value in chosen.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise UsageError(f"`timeouts.{name}` in `{path}` is not a number of seconds above 0")
    return Timeouts(**chosen)
