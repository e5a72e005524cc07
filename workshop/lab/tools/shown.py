"""A command as a person would type it, and the part of its output that tells most; secrets masked in both."""

import itertools
import re
import shlex
from collections.abc import Mapping, Sequence

from workshop.core.console import shortened

_MASK = "***"
_LINES = 3
_WIDTH = 240
_LOGIN_IN_URL = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY", re.IGNORECASE)
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")
_FAILURE = re.compile(r"^(error|fatal|failed)\b", re.IGNORECASE)
_FRAME = re.compile(
    r"^\S+\.(?:go|s):\d+( \+0x[0-9a-f]+)?$"
)  # the second of the two lines of a Go stack frame


def masked(text: str, hide: Sequence[str] = ()) -> str:
    """The text without the given values and without the login of any URL."""
    for secret in sorted(hide, key=len, reverse=True):
        text = text.replace(secret, _MASK) if secret else text
    return _LOGIN_IN_URL.sub(_MASK, text)


def copyable(
    argv: Sequence[str], env: Mapping[str, str | None] | None = None, hide: Sequence[str] = ()
) -> str:
    """One shell line that does the same, with the environment that matters in front."""
    unset = [name for name, value in (env or {}).items() if value is None]
    given = [_assigned(name, value, hide) for name, value in (env or {}).items() if value is not None]
    before = ["env", *(word for name in unset for word in ("-u", name))] if unset else []
    words = [shlex.quote(masked(word, hide)) for word in argv]
    return " ".join([*before, *given, *words])


def _assigned(name: str, value: str, hide: Sequence[str]) -> str:
    told = _MASK if _SECRET_NAME.search(name) else masked(value, hide)
    return f"{name}={shlex.quote(told)}"


def telling(output: str, hide: Sequence[str] = ()) -> str:
    """The lines of a failed command's output that say most: its error line, then its last ones."""
    lines = [line.strip() for line in _ESCAPES.sub("", masked(output, hide)).splitlines()]
    lines = _without_frames([line for line in lines if line])
    errors = [index for index, line in enumerate(lines) if _FAILURE.match(line)]
    last = range(max(0, len(lines) - _LINES), len(lines))
    chosen = list(last)
    if errors and errors[0] not in last:
        chosen = [errors[0], *last[1:]]
    return "\n".join(shortened(lines[index], _WIDTH) for index in chosen)


def _without_frames(lines: Sequence[str]) -> list[str]:
    """The lines without Go's stack frames, a function and a file each: kubeadm ends each error with some."""
    frames = {index for index, line in enumerate(lines) if _FRAME.match(line)}
    frames |= {index - 1 for index in frames}
    return [line for index, line in enumerate(lines) if index not in frames]


def named(argv: Sequence[str]) -> str:
    """The program and its verbs, without flags and values: enough to know which command it was."""
    verbs = list(itertools.takewhile(lambda word: not word.startswith("-"), argv[1:]))
    return " ".join([argv[0], *verbs[:2]])
