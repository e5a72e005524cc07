"""Other clients get a command or an entry; what a person's file held before is never lost."""

import json
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from tests.environment import forked_terminal, run_forked
from workshop.core.errors import PreflightError, UsageError
from workshop.core.instance import Instance, Record
from workshop.course.connect import CLIENTS, connection, former, remove, write

ENDPOINTS = {
    "github-remote": "http://localhost:8080/mcp",
    "workshop": "http://localhost:8081/mcp",
    "practice-github": "http://localhost:8090",
}
WRITING = [name for name, client in CLIENTS.items() if client.path]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Instance.load().save(Record("embedded", "practice", endpoints=ENDPOINTS))
    return folder


def test_a_command_names_the_endpoint_as_localhost(here: Path) -> None:
    found = connection("claude-code", "github-remote")
    assert found.command == ("claude mcp add --transport http github-remote http://localhost:8080/mcp")
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
    entry = document[found.key]["github-remote"]
    assert "http://localhost:8080/mcp" in (*entry.values(), *entry.get("args", []))
    assert remove(former(client, "github-remote")).changed
    left = [path for path in here.parent.rglob("*") if path.is_file() and path.name != "instance.json"]
    own = [Path(found.file), Path(f"{found.file}.before-workshop")]
    assert left == [] if not own[0].is_absolute() else json.loads(own[0].read_text()) == {found.key: {}}
    assert set(left) <= set(own)


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


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"servers": {},}', "a trailing comma"),
        ('{"servers": {"a": {"url": "1"}, "a": {"url": "2"}}}', "key `a` twice"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_the_reason_why_a_file_is_left_as_it_is_helps(here: Path, text: str, why: str) -> None:
    path = here / ".vscode" / "mcp.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        write(connection("vscode", "workshop"))
    assert why in refused.value.why
    assert path.read_text() == text


@pytest.mark.parametrize("text", ["", "  \n", "\ufeff", '\ufeff{"mcpServers": {}}'])
def test_an_empty_file_is_filled_and_a_byte_order_mark_stays(here: Path, text: str) -> None:
    path = here / ".mcp.json"
    path.write_bytes(text.encode())
    done = write(connection("claude-code", "workshop"))
    after = path.read_bytes().decode()
    assert after.startswith("\ufeff") == text.startswith("\ufeff")
    assert "workshop" in json.loads(after.removeprefix("\ufeff"))["mcpServers"]
    assert Path(done.backup).read_bytes() == text.encode()


def test_a_backup_is_as_private_as_the_file(here: Path) -> None:
    path = here / ".mcp.json"
    path.write_bytes(b'{"mcpServers": {"mine": {"env": {"TOKEN": "secret"}}}}\r\n')
    path.chmod(0o600)
    done = write(connection("claude-code", "workshop"))
    assert [file.stat().st_mode & 0o777 for file in (path, Path(done.backup))] == [0o600, 0o600]
    assert Path(done.backup).read_bytes().endswith(b"\r\n")


def test_a_persons_own_file_is_not_removed_with_our_entry(here: Path) -> None:
    found = connection("windsurf", "github-remote")
    path = Path(found.file)
    assert path.is_relative_to(here.parent / "home")
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    write(found)
    remove(former("windsurf", "github-remote"))
    assert json.loads(path.read_text()) == {"mcpServers": {}}


def test_claude_desktop_starts_the_bridge_with_this_python(here: Path) -> None:
    entry = connection("claude-desktop", "github-remote").entry
    assert entry["command"] == sys.executable
    assert entry["args"] == ["-m", "workshop", "bridge", "http://localhost:8080/mcp"]
    assert entry["env"] == {"WORKSHOP_HOME": str(here.parent / "state")}


@pytest.mark.parametrize("client", CLIENTS)
def test_a_credential_stays_in_its_file(here: Path, client: str) -> None:
    secret = here / "a pat"
    secret.write_text("open sesame\n")
    found = connection(client, "github-remote", {"x-github-pat": secret})
    assert "sesame" not in str(found)
    if client == "claude-desktop":
        assert found.entry["args"][-2:] == ["--header-file", f"x-github-pat={secret}"]  # type: ignore[index]
    else:
        assert found.variables == {"X_GITHUB_PAT": str(secret)}
        assert client in {"codex", "inspector"} or "X_GITHUB_PAT" in str(found.entry["headers"])


def variables(here: Path) -> dict[str, str]:
    return {"HOME": str(here.parent / "home"), "WORKSHOP_HOME": str(here.parent / "state")}


def connected(here: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_forked("-m", "workshop", "connect", *words, folder=here, env=variables(here))


def test_the_page_of_a_client_reports_what_to_run_and_how_to_undo_it(here: Path) -> None:
    for client in CLIENTS:
        done = connected(here, client)
        assert done.returncode == 0, done.stderr
        assert "To log in: " in done.stdout
        assert ("To remove it: " in done.stdout) == (client != "inspector")
        first = done.stdout.splitlines()[0]
        assert first == ("Run:" if CLIENTS[client].command else f"Add to `{CLIENTS[client].path}`:")
    (here / "pat").write_text("sesame")
    for client in CLIENTS:
        done = connected(here, client, "--header-file", "x-github-pat=pat")
        assert done.returncode == 0, done.stderr
        assert "sesame" not in done.stdout + done.stderr
        assert f"{here}/pat" in done.stdout
    done = connected(here, "codex", "workshop")
    assert done.returncode == 0, done.stderr
    assert "It needs no login" in done.stdout


def test_only_mcp_endpoints_of_something_that_is_up(here: Path) -> None:
    with pytest.raises(UsageError, match="not an MCP endpoint"):
        connection("cursor", "practice-github")
    (Instance.load().directory / "instance.json").unlink()
    with pytest.raises(PreflightError, match="No server is running"):
        connection("cursor", "workshop")
    assert not remove(former("cursor", "workshop")).changed, "but an old entry can still be taken out"


def test_it_asks_before_it_writes_and_without_a_terminal_it_does_not(here: Path) -> None:
    done = connected(here, "cursor", "--write")
    assert (done.returncode, "--yes" in done.stderr) == (2, True)
    command = ("-m", "workshop", "connect", "cursor", "--write")
    child = forked_terminal(*command, folder=here, env=variables(here))
    child.expect(r"\[y/N\]")
    child.sendline("")
    child.expect(pexpect.EOF)
    assert not (here / ".cursor").exists()
    child = forked_terminal(*command, folder=here, env=variables(here))
    child.expect(r"\[y/N\]")
    child.sendline("y")
    child.expect("disconnect cursor github-remote")
    child.expect(pexpect.EOF)
    assert (here / ".cursor" / "mcp.json").exists()
