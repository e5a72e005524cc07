"""Streams as a shell hands them over: closed, full, read by nobody, or in an encoding without our marks."""

import json
import subprocess
import sys
from pathlib import Path

import pexpect
import pyte
import pytest

LINE = "✓ one → two … “three” \u2018four\u2019 ✗ │"
PROGRAM = f"""
import sys
from workshop.core.streams import prepare_streams
prepare_streams()
assert sys.stdin.read() == ""
sys.stderr.write("progress ✓\\n")
sys.stdout.write({LINE!r} + "\\n")
sys.stdout.flush()
"""
COMMAND = "from workshop.__main__ import run; run()"
PLAIN = "* one -> two ... \"three\" 'four' x |"


def shell(script: str, program: str = PROGRAM, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run `program` as `$PROGRAM` of a shell script."""
    return subprocess.run(
        ["/bin/sh", "-c", script.replace("PROGRAM", f'"{sys.executable}" -c "$CODE"')],
        env={"PATH": "/usr/bin:/bin", "CODE": program, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=200,
        check=False,
    )


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-15", "gbk", "euc_jp", "utf-8"])
def test_a_character_that_the_encoding_lacks_gets_a_plain_form(encoding: str) -> None:
    done = shell("PROGRAM", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    shown = done.stdout.decode(encoding).strip()
    expected = "".join(char if _encodable(char, encoding) else form for char, form in _pairs())
    assert shown == expected
    assert b"progress" in done.stderr


def _pairs() -> list[tuple[str, str]]:
    forms = {"✓": "*", "→": "->", "…": "...", "“": '"', "”": '"', "✗": "x", "│": "|"}
    forms |= {"\u2018": "'", "\u2019": "'"}
    assert "".join(forms.get(char, char) for char in LINE) == PLAIN
    return [(char, forms.get(char, char)) for char in LINE]


def _encodable(char: str, encoding: str) -> bool:
    try:
        char.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def test_a_closed_stderr_puts_no_progress_on_stdout() -> None:
    done = shell("PROGRAM 2>&-", PYTHONIOENCODING="utf-8")
    assert (done.returncode, done.stdout.decode().strip(), done.stderr) == (0, LINE, b"")


def test_a_file_never_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    program = f"""
import os, sys
from workshop.core.streams import prepare_streams
prepare_streams()
with open({str(tmp_path / "file")!r}, "w") as file:
    assert file.fileno() > 2
    print("printed")
    print("an error", file=sys.stderr)
"""
    assert shell("PROGRAM <&- >&- 2>&-", program).returncode == 0
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["--help", "status --json", "part list"])
def test_every_command_works_with_a_closed_stream(command: str, closed: str, tmp_path: Path) -> None:
    done = shell(
        f"PROGRAM {command} {closed}", COMMAND, WORKSHOP_HOME=str(tmp_path), PYTHONIOENCODING="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    if "--json" in command and ">&-" not in closed.split():
        assert json.loads(done.stdout)["command"] == "status"


def test_a_full_disk_under_stdout_is_one_error(tmp_path: Path) -> None:
    done = shell("PROGRAM status --json > /dev/full", COMMAND, WORKSHOP_HOME=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[:2] == [
        "Error: The output cannot be written",
        "  No space left on device",
    ]


def test_a_full_disk_under_stderr_stops_nothing() -> None:
    done = shell("PROGRAM 2>/dev/full", PYTHONIOENCODING="utf-8")
    assert (done.returncode, done.stdout.decode().strip()) == (0, LINE)


def test_a_reader_that_leaves_ends_the_command_in_silence() -> None:
    program = """
import sys
from workshop.core.streams import prepare_streams
prepare_streams()
for _ in range(100_000):
    print("line")
"""
    done = shell("PROGRAM | head -1", program)
    assert (done.stdout, done.stderr) == (b"line\n", b"")


STEPS = """
from workshop.core.streams import prepare_streams
prepare_streams()
from workshop.core.console import Console
label = "A label \\u2192 that is longer than the window is " * 3
with Console().progress() as progress, progress.step(label) as step:
    for number in range(3):
        step.detail = f"what it did last, {number}" * 3
        progress._refresh()
"""


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "utf-8"])
def test_a_running_step_keeps_to_its_line_in_every_encoding(encoding: str) -> None:
    """A sign that is printed as three dots must not push the end of the line onto the next."""
    child = pexpect.spawn(
        sys.executable,
        ["-c", STEPS],
        env={"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": encoding, "TERM": "xterm"},
        encoding=encoding,
        timeout=200,
        dimensions=(20, 60),
    )
    screen = pyte.Screen(60, 20)
    child.expect(pexpect.EOF)
    pyte.Stream(screen).feed(str(child.before))
    (line,) = [row.rstrip() for row in screen.display if row.strip()]
    assert line.startswith(("* A label -> that", "✓ A label → that"))
    assert line.endswith(" s)")
    assert encoding == "utf-8" or "?" not in str(child.before).replace("\x1b[?", "")
