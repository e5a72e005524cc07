"""The outputs that the lessons show below their commands, drawn from real runs on a terminal.

A block of a lesson that begins with `$ command` shows what that command prints.

Run: uv run python -m tests.parts.outputs
"""

import re
import shlex
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pexpect

from tests.environment import IsolatedInstance
from tests.pictures.instance import running_instance
from tests.pictures.transcript import transcript
from workshop.core.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "parts").glob("*/README.md"))
PORTS = {"github-remote": 8080, "workshop": 8081, "practice-github": 8090}
COLUMNS = 78
BLOCK = re.compile(r"^```text\n\$ (.+)\n(?:.*\n)*?```$", re.MULTILINE)
_WIDE = 100  # the widest text of the console; longer lines are joined again
_CONTINUED = re.compile(r"[a-z\"{\[]")  # lines of their own begin with a space, a sign, a digit or a capital
_CUT_OFF = ("✓ Call", "✓ Connect")
# What differs from run to run: seconds, milliseconds, identifiers, hashes.
_VARYING = (
    (re.compile(r" \(\d+\.\d s\)"), ""),
    (re.compile(r", \d+ ms\b"), ""),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f-]{9,27}…?"), "…"),
    (re.compile(r"\b[\w-]{43}\b"), "…"),
)


def main() -> None:
    ports = {name: free_port() for name in PORTS}
    with running_instance(ports) as instance:
        for lesson in LESSONS:
            lesson.write_text(drawn(lesson, instance), encoding="utf-8")


def drawn(lesson: Path, instance: IsolatedInstance) -> str:
    """The lesson's text with each output as it is now; the commands before an output are run too."""
    text = lesson.read_text(encoding="utf-8")
    return BLOCK.sub(_shown(instance), text)


def _shown(instance: IsolatedInstance) -> Callable[[re.Match[str]], str]:
    def block(found: re.Match[str]) -> str:
        command = found[1]
        return f"```text\n$ {command}\n{tidied(performed(command, instance), instance)}\n```"

    return block


def performed(command: str, instance: IsolatedInstance) -> str:
    """What a command of a lesson leaves on a terminal; raises SystemExit if it fails."""
    if "part 4 run" in command or "trace.json" in command:
        instance.run("login", "revoke", "--all")
    if "trace.json" in command:
        instance.run("part", "4", "run", "--approve-as", "learner", "--trace", "trace.json")
    for name, port in PORTS.items():
        command = command.replace(f"localhost:{port}", f"localhost:{instance.ports[name]}")
    child = begun(command, instance)
    child.expect(pexpect.EOF)
    child.close()
    shown = str(child.before)
    if child.exitstatus:
        message = f"{command} failed: {shown}"
        raise SystemExit(message)
    return transcript(shown)


def begun(command: str, instance: IsolatedInstance) -> "pexpect.spawn[str]":
    """The command on a terminal; in a shell, if it is more than one of our own."""
    program, *words = shlex.split(command)
    if program == "workshop" and "|" not in words:
        return instance.spawn(*words, timeout=100, size=(50, _WIDE))
    return pexpect.spawn(
        "bash",
        ["-c", f'workshop() {{ {shlex.quote(sys.executable)} -m workshop "$@"; }}; {command}'],
        cwd=str(instance.folder),
        env={**instance.environment, "TERM": "xterm-256color", "COLUMNS": str(_WIDE)},
        encoding="utf-8",
        timeout=100,
        dimensions=(50, _WIDE),
    )


def tidied(shown: str, instance: IsolatedInstance) -> str:
    """The output at the usual ports, without what varies, in lines that fit a page."""
    shown = _joined(re.sub(r"\x1b\[[\d;]*m", "", shown))
    for name, port in PORTS.items():
        shown = shown.replace(f"localhost:{instance.ports[name]}", f"localhost:{port}")
    for pattern, word in _VARYING:
        shown = pattern.sub(word, shown)
    lines = [line.rstrip() for line in shown.splitlines() if not line.startswith(("Next:", "Trace:"))]
    if any(line.startswith("  hop 1") for line in lines):  # parts 1 to 3 have shown these
        lines = [line for line in lines if not re.match(r"✓ (Model|Call)|\d+ tools:|$", line)]
    return "\n".join(folded for line in lines for folded in _folded(line))


def _joined(shown: str) -> str:
    """The text without the line breaks of a terminal of this width."""
    lines: list[str] = []
    width = -_WIDE
    for line in shown.splitlines():
        first = line.split(" ")[0]
        if _CONTINUED.match(line) and width + len(first) >= _WIDE:
            lines[-1] = f"{lines[-1]} {line}"
        else:
            lines.append(line)
        width = len(line) if line else -_WIDE
    return "\n".join(lines)


def _folded(line: str) -> list[str]:
    if len(line) <= COLUMNS:
        return [line]
    if line.startswith(_CUT_OFF):
        return [f"{line[: COLUMNS - 1].rstrip('…')}…"]
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(line, COLUMNS, subsequent_indent=indent, break_on_hyphens=False)


if __name__ == "__main__":
    main()
