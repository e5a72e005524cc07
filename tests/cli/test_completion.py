"""What the shell completes: commands, and names that depend on what is here."""

import os
import re
import shutil
import sys
from pathlib import Path

import pexpect
import pytest

from tests.cli.conftest import Workshop
from workshop.core.instance import Instance, Record


@pytest.fixture
def complete(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> "Completer":
    return Completer(workshop, monkeypatch, capsys)


class Completer:
    """Asks as bash does: the words so far, and which of them is being typed."""

    def __init__(
        self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._workshop, self._monkeypatch, self._capsys = workshop, monkeypatch, capsys

    def __call__(self, line: str) -> list[str]:
        self._monkeypatch.setenv("_WORKSHOP_COMPLETE", "complete_bash")
        self._monkeypatch.setenv("COMP_WORDS", f"workshop {line}")
        self._monkeypatch.setenv("COMP_CWORD", str(len(line.split(" "))))
        with pytest.raises(SystemExit):
            self._workshop()
        told = self._capsys.readouterr()
        assert told.err == ""
        return told.out.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("te", ["teardown"]),
        ("part ", ["list", "1", "2", "3", "4"]),
        ("part 2 che", ["check"]),
        ("part 2 check ", ["1", "2"]),
        ("part 2 solve ", ["1", "2"]),
        ("part 4 run --variation w", ["worker"]),
        ("part 4 check --variation worker ", ["1", "2", "3", "4", "5", "6"]),
        ("part 4 compare --only to", ["toolhive"]),
        ("demo play part-", ["part-1", "part-2", "part-3", "part-4"]),
        ("connect c", ["claude-code", "claude-desktop", "cursor", "codex"]),
        ("help ex", ["exit-codes"]),
        ("up --backend ", ["kind", "kubernetes", "embedded"]),
        ("up --dry", ["--dry-run"]),
        ("logs ", []),
        ("login revoke ", []),
        ("connect cursor ", []),
    ],
)
def test_commands_and_names_are_completed(complete: Completer, line: str, expected: list[str]) -> None:
    assert complete(line) == expected


def test_workloads_are_completed_once_there_are_some(complete: Completer, tmp_path: Path) -> None:
    instance = Instance.load()
    for name in ("workshop", "workshop-0", "github-remote"):
        (instance.directory / "workloads" / name).mkdir(parents=True)
        (instance.directory / "workloads" / name / "log.txt").touch()
    instance.save(Record("embedded", "practice", endpoints={"workshop": "http://localhost:1/mcp"}))
    assert complete("logs w") == ["workshop", "workshop-0"]
    assert complete("connect cursor ") == ["workshop"]


def test_a_damaged_state_completes_nothing_and_says_nothing(complete: Completer) -> None:
    record = Instance.load().directory / "instance.json"
    record.parent.mkdir(parents=True)
    record.write_text("{")
    assert complete("connect cursor ") == []
    assert complete("logs ") == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_a_bash_that_took_the_script_completes_on_tab(workshop: Workshop, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "workshop"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m workshop "$@"\n')
    program.chmod(0o755)
    (tmp_path / "home").mkdir()
    env = {
        **os.environ,
        "HOME": str(tmp_path / "home"),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PS1": "ready$ ",
        "TERM": "dumb",
    }
    shell = pexpect.spawn(
        "bash", ["--norc", "--noprofile", "-i"], env=env, cwd=str(tmp_path), encoding="utf-8", timeout=60
    )
    shell.expect_exact("ready$ ")
    shell.sendline("workshop --install-completion")
    shell.expect(r"completion installed in (\S+)\s")
    assert isinstance(shell.match, re.Match)
    assert shell.match.group(1).startswith(str(tmp_path / "home"))
    shell.expect_exact("ready$ ")
    shell.sendline("source ~/.bashrc; echo sourced")
    shell.expect_exact("\r\nsourced")
    shell.expect_exact("ready$ ")
    shell.send("workshop part 3 exe\t")
    shell.expect_exact("workshop part 3 exercise ")
    shell.sendintr()
    shell.sendline("exit")
    shell.expect(pexpect.EOF)
    shell.close()
