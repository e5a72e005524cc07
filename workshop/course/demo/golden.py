"""What a demo shows, with times, ports and ids taken out, against the text it is held to."""

import difflib
import re
from collections.abc import Sequence

_NORMAL = (
    (re.compile(r"\r+\n"), "\n"),
    (re.compile(r"\r"), "\n"),
    (re.compile(r"\((\d+(\.\d+)?) s\)"), "(… s)"),
    (re.compile(r"\b\d+(\.\d+)? (ms|s)\b"), "… s"),
    (re.compile(r"\b(localhost|127\.0\.0\.1):\d+"), r"\1:PORT"),
    (re.compile(r"\b(port) \d{4,5}\b", re.IGNORECASE), r"\1 PORT"),
    (re.compile(r"\b([a-z-]+)=\d{4,5}\b"), r"\1=PORT"),
    (re.compile(r"\bpid \d+\b"), "pid PID"),
    (re.compile(r"(:PORT(?:/mcp)? +)\d+$", re.MULTILINE), r"\1PID"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4})*-?…"), "ID…"),
    (re.compile(r"\[(\d+)\] \d+"), r"[\1] PID"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"(state|client_id|code_challenge|elicitation_id|nonce)=[\w~.%-]+"), r"\1=…"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?(\.\d+)?([+-]\d\d:\d\d|Z)?"), "TIME"),
    (re.compile(r"(/[\w.@~-]+)+/(?=default\b|state\b|here\b)"), "…/"),
    (re.compile(r"[ \t]+\n"), "\n"),
)


def normalised(text: str) -> str:
    """The text with everything that differs from run to run replaced by a word."""
    for pattern, word in _NORMAL:
        text = pattern.sub(word, text)
    return text.strip() + "\n"


def difference(golden: str, shown: str) -> Sequence[str]:
    """What differs, as a unified diff; nothing when they agree."""
    lines = difflib.unified_diff(
        golden.splitlines(), shown.splitlines(), "golden text", "shown now", lineterm="", n=2
    )
    return list(lines)
