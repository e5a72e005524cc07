"""Other clients get a command or an entry; what a person's file held before is never lost."""

import json
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from workshop.core.errors import PreflightError, UsageError
from workshop.core.instance import Instance, Record
from workshop.course.connect import CLIENTS, connection, former, remove, write

ENDPOINTS = {
    "github-remote": "http://localhost:8080/mcp",
    "workshop": "http://localhost:8081/mcp",
    "practice-github": "http://localhost:8090",
}
WRITING = [name for name, client in CLIENTS.items() if client.file]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path / "state"))
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Instance.load().save(Record("embedded", "practice", endpoints=ENDPOINTS))
    return folder


def test_a_command_names_the_endpoint_as_localhost(here: Path) -> None:
    found = connection("claude-code", "github-remote")
    assert found.command == (
        "claude mcp add --transport http workshop-github-remote http://localhost:8080/mcp"
    )
    assert json.loads(connection("vscode", "workshop").command.split("'")[1]) == {
        "name": "workshop",
        "type": "http",
        "url": "http://localhost:8081/mcp",
    }


@pytest.mark.parametrize("client", WRITING)
def test_written_and_taken_out_again_leaves_the_folder_as_it_was(here: Path, client: str) -> None:
    found = connection(client, "github-remote")
    assert write(found).changed
    assert not write(found).changed, "a second time changes nothing"
    document = json.loads((here / found.file).read_text())
    assert document[found.key]["workshop-github-remote"]["url"] == "http://localhost:8080/mcp"
    assert remove(former(client, "github-remote")).changed
    assert [path for path in here.rglob("*") if path.is_file()] == []


def test_what_else_the_file_holds_stays_and_has_a_backup(here: Path) -> None:
    path = here / ".mcp.json"
    before = '{"mcpServers": {"mine": {"command": "x"}}, "other": [1]}'
    path.write_text(before)
    path.chmod(0o640)
    done = write(connection("claude-code", "workshop"))
    assert Path(done.backup).read_text() == before
    document = json.loads(path.read_text())
    assert document["mcpServers"]["mine"] == {"command": "x"}
    assert document["other"] == [1]
    assert path.stat().st_mode & 0o777 == 0o640
    remove(former("claude-code", "workshop"))
    assert json.loads(path.read_text()) == json.loads(before)
    assert Path(done.backup).read_text() == before, "a later backup does not replace the first"


@pytest.mark.parametrize(
    "text",
    ["{ // a comment\n}", "[]", '{"servers": []}', '{"servers": {', "\udcff".encode("utf-8", "replace")],
)
def test_a_file_that_is_not_plain_json_is_left_as_it_is(here: Path, text: str | bytes) -> None:
    path = here / ".vscode" / "mcp.json"
    path.parent.mkdir()
    raw = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(raw)
    with pytest.raises(UsageError, match="left as it is"):
        write(connection("vscode", "workshop"))
    assert path.read_bytes() == raw


def test_only_mcp_endpoints_of_something_that_is_up(here: Path) -> None:
    with pytest.raises(UsageError, match="no MCP endpoint"):
        connection("cursor", "practice-github")
    (Instance.load().directory / "instance.json").unlink()
    with pytest.raises(PreflightError, match="Nothing is up"):
        connection("cursor", "workshop")
    assert not remove(former("cursor", "workshop")).changed, "but an old entry can still be taken out"


def test_it_asks_before_it_writes_and_without_a_terminal_it_does_not(here: Path) -> None:
    command = ["-m", "workshop", "connect", "cursor", "--write"]
    done = subprocess.run(
        [sys.executable, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "--yes" in done.stderr) == (2, True)
    child = pexpect.spawn(sys.executable, command, encoding="utf-8", timeout=30)
    child.expect(r"\[y/N\]")
    child.sendline("")
    child.expect(pexpect.EOF)
    assert not (here / ".cursor").exists()
    child = pexpect.spawn(sys.executable, command, encoding="utf-8", timeout=30)
    child.expect(r"\[y/N\]")
    child.sendline("y")
    child.expect("disconnect cursor github-remote")
    child.expect(pexpect.EOF)
    assert (here / ".cursor" / "mcp.json").exists()
