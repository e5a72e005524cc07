"""The rehearsal plan of `part.toml`: the tools to call, the parts of their results to keep, the answer."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, ConfigDict

from workshop.core.errors import WorkshopError

_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_CHOICES = ("max_by", "min_by", "first", "count")
_NO_OTHER_KEYS = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Keep:
    """One thing to remember of a result.

    `source` is its dotted path there, `where` the values that an entry must have by path, `choice` one of
    `max_by`, `min_by`, `first`, `count` or empty, and `by` the path that the first two compare.
    """

    source: str = ""
    where: Mapping[str, Any] = field(default_factory=dict)
    choice: str = ""
    by: str = ""


def _keep(table: object) -> object:
    """The fields of Keep from `{ from, where, max_by | min_by | first | count }` in `part.toml`."""
    if not isinstance(table, dict):
        raise ValueError("is not a table")  # noqa: TRY004 - pydantic makes its error of a ValueError only
    allowed = ("from", "where", *_CHOICES)
    if unknown := sorted(set(table) - set(allowed)):
        raise ValueError(f"has the unknown key `{unknown[0]}`; allowed are {', '.join(allowed)}")
    chosen = [name for name in _CHOICES if table.get(name)]
    if len(chosen) > 1:
        raise ValueError(f"has more than one of {', '.join(chosen)}")
    choice = chosen[0] if chosen else ""
    by = table[choice] if choice in ("max_by", "min_by") else ""
    return {"source": table.get("from", ""), "where": table.get("where", {}), "choice": choice, "by": by}


@dataclass(frozen=True)
class PlannedCall:
    """A tool, its arguments with `{name.path}` placeholders, and what to keep of its result."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    keep: Mapping[str, Annotated[Keep, BeforeValidator(_keep)]] = field(default_factory=dict)
    __pydantic_config__: ClassVar[ConfigDict] = _NO_OTHER_KEYS


@dataclass(frozen=True)
class Plan:
    """The calls that lead to an answer; used when all `keywords` occur in the question."""

    answer: str
    calls: tuple[PlannedCall, ...] = ()
    keywords: tuple[str, ...] = ()
    __pydantic_config__: ClassVar[ConfigDict] = _NO_OTHER_KEYS


def fill(template: Any, known: Mapping[str, Any]) -> Any:  # noqa: ANN401 - TOML values of any kind
    """Replace every `{path}`; a string that is one placeholder becomes the value, a number stays one."""
    if isinstance(template, dict):
        return {key: fill(value, known) for key, value in template.items()}
    if isinstance(template, list):
        return [fill(value, known) for value in template]
    if not isinstance(template, str):
        return template
    whole = _PLACEHOLDER.fullmatch(template)
    if whole:
        return look_up(known, whole[1])
    return _PLACEHOLDER.sub(lambda match: str(look_up(known, match[1])), template)


def keep_of(data: Any, rule: Keep) -> Any:  # noqa: ANN401 - tool results have any shape
    """The part of a tool's result that `rule` describes; raises WorkshopError if it is missing."""
    value = look_up(data, rule.source)
    if rule.where:
        value = [item for item in _entries(value, rule) if _meets(item, rule.where)]
    if not rule.choice:
        return value
    entries = _entries(value, rule)
    if rule.choice == "count":
        return len(entries)
    if not entries:
        raise WorkshopError("The rehearsal plan found nothing", why=f"`{rule.source}` of the result is empty")
    if rule.choice == "first":
        return entries[0]
    best = max if rule.choice == "max_by" else min
    try:
        return best(entries, key=lambda item: look_up(item, rule.by))
    except TypeError as error:
        raise WorkshopError(f"The rehearsal plan cannot compare by `{rule.by}`", why=str(error)) from error


def look_up(data: Any, path: str) -> Any:  # noqa: ANN401 - tool results have any shape
    """Follow a dotted path through tables and lists; raises WorkshopError with what it found instead."""
    value = data
    for name in path.split(".") if path else ():
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, Sequence) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            raise WorkshopError(
                f"The rehearsal plan asks for `{path}`, which the result lacks", why=_what_is(value)
            )
    return value


def _what_is(value: object) -> str:
    if isinstance(value, Mapping):
        return f"It has: {', '.join(sorted(map(str, value))[:12]) or 'no entries'}"
    return f"It is a {type(value).__name__}"


def _entries(value: object, rule: Keep) -> list[Any]:
    if not isinstance(value, list):
        raise WorkshopError(f"The rehearsal plan expects a list at `{rule.source}`", why=_what_is(value))
    return value


def _meets(item: object, condition: Mapping[str, Any]) -> bool:
    return all(look_up(item, path) == wanted for path, wanted in condition.items())
