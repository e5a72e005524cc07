"""An unforeseen error: one short message, and a log file without secrets."""

import errno
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import run_forked
from workshop.core.crash import crash_logs, run_program, short_error
from workshop.core.errors import PreflightError, UsageError, WorkshopError

SECRET = "not-a-real-secret-0123456789"
# A bug in a function of this project, with a secret of `.env` and a token in its message.
BUG = """
import sys
import workshop.cli.environment
from workshop.cli.main import main

def broken(*_):
    raise RuntimeError("unforeseen " + {secret!r} + " Bearer abcdefghijkl")

workshop.course.environment.backend_now = broken
sys.exit(main(["status", *sys.argv[1:]]))
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path / "state"))
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY={SECRET}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def forced_bug(here: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import workshop.course.environment\n" + BUG.format(secret=SECRET)
    return run_forked("-c", code, *arguments, folder=here, env={"WORKSHOP_HOME": str(here / "state")})


def test_a_bug_is_one_short_error_and_a_masked_log(here: Path) -> None:
    done = forced_bug(here)
    (log,) = crash_logs()
    assert done.returncode == 1
    what, why, hint = done.stderr.splitlines()
    assert what == "Error: This is a bug in `workshop`: RuntimeError: unforeseen *** Bearer ***"
    assert str(log) in why
    assert "workshop report" in hint
    text = log.read_text()
    assert "Python 3" in text
    assert "httpx2" in text
    assert "workshop status" in text
    assert "Traceback (most recent call last)" in text
    assert "in status\n" in text
    assert SECRET not in text + done.stderr + done.stdout
    assert "abcdefghijkl" not in text + done.stderr
    assert log.stat().st_mode & 0o077 == 0


def test_a_bug_with_json_is_the_envelope(here: Path) -> None:
    done = forced_bug(here, "--json")
    envelope = json.loads(done.stdout)
    assert (envelope["command"], envelope["status"], envelope["exit_code"]) == ("status", "error", 1)
    assert envelope["error"]["what"].startswith("This is a bug in `workshop`: RuntimeError")
    assert SECRET not in done.stdout + done.stderr


def test_the_report_takes_the_log_along(here: Path) -> None:
    forced_bug(here)
    done = run_forked(
        *("-m", "workshop", "report", "--json"),
        folder=here,
        env={"WORKSHOP_HOME": str(here / "state"), "WORKSHOP_BACKEND": "embedded"},
    )
    assert done.returncode == 0, done.stderr
    assert f"crashes/{crash_logs()[0].name}" in json.loads(done.stdout)["data"]["contents"]


def test_without_a_state_directory_it_goes_elsewhere(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "file").touch()
    monkeypatch.setenv("WORKSHOP_HOME", str(here / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(here))
    shown = short_error(_raised(ValueError("unforeseen")), ["workshop"])
    assert shown.exit_code == 1
    (log,) = here.glob("workshop-*/*.txt")
    assert str(log) in shown.why


def test_what_cannot_be_masked_is_left_out(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(_: object) -> list[str]:
        raise PermissionError("no")

    monkeypatch.setattr("workshop.core.crash.known_secrets", unreadable)
    shown = short_error(_raised(ValueError(SECRET)), ["workshop", SECRET])
    assert SECRET not in f"{shown.what} {shown.why}"
    assert SECRET not in crash_logs()[0].read_text()


def _raised(error: Exception) -> Exception:
    """The error as a library raises it."""
    try:
        exec(compile("raise error", "<library>", "exec"), {"error": error})
    except Exception as raised:  # noqa: BLE001 - it is the one that was given
        return raised
    raise AssertionError


def test_one_of_ours_stays_as_it_is(here: Path) -> None:
    given = UsageError("what", why="why", hint="hint")
    assert short_error(given, ["workshop"]) is given
    assert crash_logs() == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.ENOTDIR, errno.EROFS, errno.EFBIG])
def test_an_error_about_a_file_names_it_and_is_no_bug(here: Path, number: int) -> None:
    file = here / "state" / "instance.json"
    shown = short_error(OSError(number, os.strerror(number), str(file)), ["workshop"])
    assert isinstance(shown, PreflightError)
    assert str(file) in shown.what
    assert shown.why == os.strerror(number)
    assert "WORKSHOP_HOME" in shown.hint
    assert crash_logs() == []


def test_an_error_in_a_learners_file_names_its_line(here: Path) -> None:
    (here / "learners_tools.py").write_text("def tool():\n    return 1 / 0\n")
    sys.path.insert(0, str(here))
    try:
        tools = importlib.import_module("learners_tools")
        with pytest.raises(ZeroDivisionError) as caught:
            tools.tool()
    finally:
        sys.path.remove(str(here))
        sys.modules.pop("learners_tools", None)
    shown = short_error(caught.value, ["workshop"])
    assert shown.what == "`learners_tools.py`, line 2: ZeroDivisionError: division by zero"
    assert "bug" not in shown.what
    assert "return 1 / 0" in crash_logs()[0].read_text()


def test_a_program_ends_with_the_code_of_its_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused() -> None:
        raise UsageError("what", why="why", hint="do")

    def interrupted() -> None:
        raise KeyboardInterrupt

    assert here
    assert run_program(refused) == UsageError.exit_code
    assert capsys.readouterr().err == "Error: what\n  why\n  Hint: do\n"
    assert run_program(interrupted) == 130
    assert run_program(lambda: None) == 0

    def broken() -> None:
        raise ZeroDivisionError

    assert run_program(broken) == WorkshopError.exit_code
    assert "ZeroDivisionError" in capsys.readouterr().err
