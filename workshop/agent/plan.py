"""The rehearsal plan of `part.toml`: which tools to call, what to keep of their results, what to answer."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workshop.core.errors import UsageError, WorkshopError

_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_CHOICES = ("max_by", "min_by", "first", "count")


@dataclass(frozen=True)
class Keep:
    """One thing to remember of a result: where it is, which entries count, which of them is meant."""

    source: str = ""
    where: Mapping[str, Any] = field(default_factory=dict)
    choice: str = ""
    by: str = ""


@dataclass(frozen=True)
class PlannedCall:
    """A tool, its arguments with `{name.path}` placeholders, and what to keep of its result."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    keep: Mapping[str, Keep] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The calls that lead to an answer; taken when all `keywords` occur in the question."""

    answer: str
    calls: tuple[PlannedCall, ...]
    keywords: tuple[str, ...] = ()


def parse_plans(data: object, where: str) -> tuple[Plan, ...]:
    """Read the `[[rehearsal]]` tables of `where`; raises UsageError naming what is wrong."""
    tables = [data] if isinstance(data, dict) else data
    if not isinstance(tables, list):
        raise UsageError(f"`rehearsal` in {where} is not a table")
    return tuple(_plan(table, f"`rehearsal` {number} in {where}") for number, table in enumerate(tables, 1))


def _plan(table: object, where: str) -> Plan:
    values = _table(table, where, allowed={"answer", "keywords", "calls"})
    calls = values.get("calls", [])
    keywords = values.get("keywords", [])
    if not isinstance(values.get("answer"), str):
        raise UsageError(f"{where} has no `answer`")
    if not isinstance(calls, list) or not all(isinstance(word, str) for word in keywords):
        raise UsageError(f"{where}: `calls` are tables and `keywords` are words")
    parsed = tuple(_call(call, f"{where}, call {number}") for number, call in enumerate(calls, 1))
    return Plan(values["answer"], parsed, tuple(keywords))


def _call(table: object, where: str) -> PlannedCall:
    values = _table(table, where, allowed={"tool", "arguments", "keep"})
    if not isinstance(values.get("tool"), str):
        raise UsageError(f"{where} has no `tool`")
    keep = _table(values.get("keep", {}), f"`keep` of {where}")
    arguments = _table(values.get("arguments", {}), f"`arguments` of {where}")
    return PlannedCall(
        values["tool"], arguments, {name: _keep(rule, f"`{name}` of {where}") for name, rule in keep.items()}
    )


def _keep(table: object, where: str) -> Keep:
    values = _table(table, where, allowed={"from", "where", *_CHOICES})
    chosen = [name for name in _CHOICES if values.get(name)]
    if len(chosen) > 1:
        raise UsageError(f"{where} has more than one of {', '.join(chosen)}")
    choice = chosen[0] if chosen else ""
    by = str(values[choice]) if choice in ("max_by", "min_by") else ""
    condition = _table(values.get("where", {}), f"`where` of {where}")
    return Keep(str(values.get("from", "")), condition, choice, by)


def _table(value: object, where: str, allowed: set[str] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where} is not a table")
    unknown = sorted(set(value) - allowed) if allowed is not None else []
    if unknown:
        raise UsageError(f"{where} has the unknown key `{unknown[0]}`")
    return value


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
    """Take from a tool's result what `rule` says; raises WorkshopError when it is not there."""
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
    """Follow a dotted path through tables and lists; raises WorkshopError naming what is there instead."""
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
        return f"At that place there are: {', '.join(sorted(map(str, value))[:12]) or 'no entries'}"
    return f"At that place there is a {type(value).__name__}"


def _entries(value: object, rule: Keep) -> list[Any]:
    if not isinstance(value, list):
        raise WorkshopError(f"The rehearsal plan expects a list at `{rule.source}`", why=_what_is(value))
    return value


def _meets(item: object, condition: Mapping[str, Any]) -> bool:
    return all(look_up(item, path) == wanted for path, wanted in condition.items())
