"""A demo script: a TOML file of steps, each a text to say, a command to type or a key to press."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workshop.core.errors import UsageError
from workshop.core.files import read_toml

SCRIPTS = Path(__file__).parent / "scripts"
KEYS = {"ctrl-c": "\x03", "ctrl-d": "\x04", "enter": "\r", "space": " ", "y": "y", "n": "n"}
_STEP_FIELDS = {"name", "say", "type", "press", "expect", "until", "exit", "seconds", "pause"}
_SCRIPT_FIELDS = {"title", "summary", "setup", "addresses", "cleanup", "steps"}
_SECONDS = 60.0
_VARIABLE, _WORKLOAD = re.compile(r"[A-Z][A-Z_]*"), re.compile(r"[a-z][a-z-]*")


@dataclass(frozen=True)
class Step:
    """One step: the text to say, type or press, the patterns to expect, and the exit code of the command.

    With `until` the next step starts as soon as that pattern appears, without waiting for the prompt.
    """

    number: int
    name: str
    say: str
    type: str
    press: str
    expect: Sequence[str]
    until: str
    exit: int
    seconds: float
    pause: bool


@dataclass(frozen=True)
class Script:
    """A demo: its steps, and the commands before and after it that are not shown.

    `addresses` maps the shell variables that the steps use to workloads: `$URL` is then such an address.
    """

    name: str
    title: str
    summary: str
    setup: Sequence[str]
    addresses: Mapping[str, str]
    cleanup: Sequence[str]
    steps: Sequence[Step]
    golden: Path


def names() -> list[str]:
    """The demos that come with the toolkit."""
    return sorted(path.stem for path in SCRIPTS.glob("*.toml"))


def load(name: str) -> Script:
    """The demo of this name, or in this TOML file; raises UsageError if it is missing or wrong."""
    path = Path(name) if name.endswith(".toml") else SCRIPTS / f"{name}.toml"
    if not path.is_file():
        raise UsageError(f"Unknown demo `{name}`", hint=f"Choose {', '.join(names())}, or name a TOML file")
    data = read_toml(path)
    _known(data, _SCRIPT_FIELDS, f"`{path}`")
    steps = data.get("steps")
    if not isinstance(steps, list) or not steps:
        raise UsageError(f"`{path}` has no `[[steps]]`")
    return Script(
        path.stem,
        str(data.get("title", path.stem)),
        str(data.get("summary", "")),
        _texts(data.get("setup", []), f"`setup` in `{path}`"),
        _addresses(data.get("addresses", {}), f"`addresses` in `{path}`"),
        _texts(data.get("cleanup", []), f"`cleanup` in `{path}`"),
        tuple(_step(number, step, path) for number, step in enumerate(steps, 1)),
        path.with_suffix(".golden.txt"),
    )


def _step(number: int, data: object, path: Path) -> Step:
    where = f"step {number} of `{path}`"
    if not isinstance(data, Mapping):
        raise UsageError(f"{where} is not a table")
    _known(data, _STEP_FIELDS, where)
    if not any(data.get(field) for field in ("say", "type", "press")):
        raise UsageError(f"{where} has neither `say`, `type` nor `press`")
    press = str(data.get("press", ""))
    if press and press not in KEYS:
        raise UsageError(f"{where} presses `{press}`", hint=f"There are {', '.join(KEYS)}")
    seconds = data.get("seconds", _SECONDS)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
        raise UsageError(f"`seconds` in {where} is not a number above 0")
    code = data.get("exit", 0)
    if isinstance(code, bool) or not isinstance(code, int):
        raise UsageError(f"`exit` in {where} is not an exit code")
    expect = data.get("expect", [])
    return Step(
        number=number,
        name=str(data.get("name", number)),
        say=str(data.get("say", "")),
        type=str(data.get("type", "")),
        press=press,
        expect=_patterns([expect] if isinstance(expect, str) else expect, f"`expect` in {where}"),
        until=next(iter(_patterns([str(data["until"])], f"`until` in {where}")), "")
        if "until" in data
        else "",
        exit=code,
        seconds=float(seconds),
        pause=bool(data.get("pause", False)),
    )


def _known(data: Mapping[str, Any], fields: set[str], where: str) -> None:
    unknown = sorted(set(data) - fields)
    if unknown:
        raise UsageError(
            f"{where} has an unknown `{unknown[0]}`", hint=f"There are {', '.join(sorted(fields))}"
        )


def _texts(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"{where} is not a list of texts")
    return tuple(value)


def _addresses(value: object, where: str) -> Mapping[str, str]:
    words = value if isinstance(value, Mapping) else {"": ""}
    if not all(_VARIABLE.fullmatch(name) and _WORKLOAD.fullmatch(str(of)) for name, of in words.items()):
        raise UsageError(f"{where} does not name workloads", hint='For example `URL = "github-remote"`')
    return {name: str(of) for name, of in words.items()}


def _patterns(value: object, where: str) -> tuple[str, ...]:
    found = _texts(value, where)
    for pattern in found:
        try:
            re.compile(pattern)
        except re.error as error:
            raise UsageError(f"{where} is not a regular expression", why=str(error)) from error
    return found
