"""`workshop logs`: whose, how much, harmless, and without secrets."""

import json
import re
import sys
from pathlib import Path

import pexpect
import pytest

from tests.cli.conftest import Workshop
from tests.environment import IsolatedInstance

SECRET = "canary-of-the-oauth-app"


@pytest.fixture
def folder(workshop: Workshop, tmp_path: Path) -> Path:
    """Where the logs of two workloads and of one's server are."""
    folder = tmp_path / "state" / "default" / "workloads"
    for name in ("workshop", "workshop-0", "github-remote"):
        (folder / name).mkdir(parents=True)
        (folder / name / "log.txt").write_text(f"first of {name}\nlast of {name}\n")
    return folder


def test_without_logs_the_way_to_some_is_reported(workshop: Workshop) -> None:
    outcome = workshop("logs")
    assert outcome.code == 3
    assert "Run `workshop up` first" in outcome.err


def test_the_last_lines_of_all_are_distinguished_by_name(workshop: Workshop, folder: Path) -> None:
    outcome = workshop("logs", "--lines", "1")
    assert (outcome.code, outcome.err) == (0, "Next: `workshop logs --follow`\n")
    names = ("github-remote", "workshop", "workshop-0")
    assert outcome.out.splitlines() == [f"{name} | last of {name}" for name in names]


def test_one_workload_stands_alone(workshop: Workshop, folder: Path) -> None:
    assert workshop("logs", "workshop-0").out == "first of workshop-0\nlast of workshop-0\n"
    assert workshop("logs", "workshop", "-n", "1").out == "last of workshop\n"


def test_an_unknown_workload_is_a_usage_error_that_names_those_there_are(
    workshop: Workshop, folder: Path
) -> None:
    outcome = workshop("logs", "nobody")
    assert outcome.code == 2
    assert "Choose github-remote, workshop, workshop-0" in outcome.err


def test_a_log_cannot_drive_the_terminal_and_tells_no_secret(workshop: Workshop, folder: Path) -> None:
    Path(".env").write_text(f"GITHUB_OAUTH_CLIENT_SECRET={SECRET}\n")
    said = f"\x1b[2J\x1b]0;title\x07 {SECRET} Bearer abc.def gho_0123456789\u202e\n"
    (folder / "workshop" / "log.txt").write_text(said)
    for arguments in ((), ("--json",)):
        outcome = workshop("logs", "workshop", *arguments)
        assert "\x1b" not in outcome.out
        assert "\u202e" not in outcome.out
        assert not re.search(f"{SECRET}|abc.def|gho_", outcome.out)
    assert workshop("logs", "workshop").out == "\\x1b[2J\\x1b]0;title\\x07 *** Bearer *** ***\\x202e\n"


def test_json_has_the_lines_of_each(workshop: Workshop, folder: Path) -> None:
    data = json.loads(workshop("logs", "workshop-0", "--json", "-n", "1").out)["data"]
    assert data == {"logs": [{"name": "workshop-0", "lines": ["last of workshop-0"]}]}
    outcome = workshop("logs", "-f", "--json")
    assert json.loads(outcome.out)["error"]["code"] == "usage"


def test_an_empty_log_reports_that_on_stderr(workshop: Workshop, folder: Path) -> None:
    (folder / "workshop" / "log.txt").write_text("")
    outcome = workshop("logs", "workshop")
    assert (outcome.code, outcome.out) == (0, "")
    assert "The logs are empty" in outcome.err


def test_following_goes_on_until_ctrl_c_and_finds_what_comes_later(instance: IsolatedInstance) -> None:
    folder = instance.directory / "workloads"
    (folder / "one").mkdir(parents=True)
    log = folder / "one" / "log.txt"
    log.write_text("before\nlast\n")
    child = instance.spawn("logs", "--follow", "-n", "1", timeout=60)
    child.expect_exact("last\r\n")
    with log.open("a") as file:
        file.write("more\n")
    child.expect_exact("more\r\n")
    log.unlink()
    log.write_text("anew\n")
    child.expect_exact("anew\r\n")
    (folder / "two").mkdir()
    (folder / "two" / "log.txt").write_text("hello\n")
    child.expect_exact("two | hello\r\n")
    child.sendintr()
    child.expect("Stopped")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


def test_a_reader_that_has_seen_enough_gets_no_traceback(instance: IsolatedInstance) -> None:
    (instance.directory / "workloads" / "one").mkdir(parents=True)
    (instance.directory / "workloads" / "one" / "log.txt").write_text("line\n" * 9000)
    shell = pexpect.spawn(
        "/bin/sh",
        ["-c", f"{sys.executable} -m workshop logs -n 9000 | head -1"],
        cwd=str(instance.folder),
        env=instance.environment,
        encoding="utf-8",
        timeout=60,
    )
    shell.expect(pexpect.EOF)
    assert str(shell.before).splitlines()[0] == "line"
    assert "Traceback" not in str(shell.before)
    assert "Exception" not in str(shell.before)
