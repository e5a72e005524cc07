"""Go durations such as `168h` or `1h30m`, as ToolHive's `tokenLifespans` are written."""

import re

_UNIT_SECONDS = {"h": 3600, "m": 60, "s": 1}
_TERM = re.compile(r"([0-9]{1,9})([hms])")


def seconds(text: str) -> int | None:
    """The whole seconds a Go duration stands for, or None when it is not one."""
    if not re.fullmatch(r"([0-9]{1,9}[hms])+", text):
        return None
    return sum(int(amount) * _UNIT_SECONDS[unit] for amount, unit in _TERM.findall(text))
