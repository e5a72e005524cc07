"""Connect other MCP clients to what runs: the client's own command, or an entry in its configuration file.

A credential is never written into a client's file or shown: the entry refers to an environment variable, and
the bridge reads a file. Files of the current folder come first; a person's own file is written only where the
client has no other.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workshop.core.encoding import shallow
from workshop.core.errors import PreflightError, UsageError, WorkshopError, reason
from workshop.core.files import read_bounded
from workshop.core.instance import Instance
from workshop.core.invocation import INSTANCE
from workshop.core.paths import replace_file

WHY_LOCALHOST = (
    "Write `localhost`, not `127.0.0.1`: issuer, audience and callback use `localhost`, "
    "and OAuth compares them character for character"
)
_WITHOUT_LOGIN = "workshop"
_USER = "learner"
_BACKUP = ".before-workshop"
# Editors on Windows write it, and a client that expects it must find it again.
_BOM = "\ufeff"
_BRIDGE = "claude-desktop"


@dataclass(frozen=True)
class Client:
    """An MCP client: its own commands, and where and how its configuration names a server.

    `{name}` and `{url}` stand for the server's in every text; `reference` is the client's way to write the
    value of the environment variable `{}`.
    """

    name: str
    command: str = ""
    login: str = ""
    removal: str = ""
    file: str = ""
    key: str = "mcpServers"
    url_key: str = "url"
    fixed: Mapping[str, str] = field(default_factory=dict)
    reference: str = "${{env:{}}}"

    @property
    def path(self) -> str:
        """The configuration file, in this folder or the person's own; empty where we write none."""
        return (
            _desktop_file() if self.name == _BRIDGE else str(Path(self.file).expanduser()) * bool(self.file)
        )


CLIENTS = {
    client.name: client
    for client in (
        Client(
            "claude-code",
            "claude mcp add --transport http {name} {url}",
            "`claude mcp login {name}`, or `/mcp` inside Claude Code, then Authenticate",
            "`claude mcp remove {name}`",
            ".mcp.json",
            fixed={"type": "http"},
            reference="${{{}}}",
        ),
        Client(
            _BRIDGE,
            login="Quit Claude Desktop and start it again; the bridge opens your browser to log in",
        ),
        Client(
            "vscode",
            """code --add-mcp '{{"name": "{name}", "type": "http", "url": "{url}"}}'""",
            "In VS Code, `MCP: List Servers`, then {name}, then Start Server; it opens your browser",
            "`MCP: Open User Configuration` in VS Code, and delete {name}",
            ".vscode/mcp.json",
            key="servers",
            fixed={"type": "http"},
        ),
        Client(
            "cursor",
            login="In Cursor, Settings, then MCP, then Connect beside {name}",
            file=".cursor/mcp.json",
        ),
        Client(
            "windsurf",
            login="In Windsurf, open the MCP servers of Cascade and refresh; it opens your browser",
            file="~/.codeium/windsurf/mcp_config.json",
            url_key="serverUrl",
        ),
        Client(
            "codex",
            "codex mcp add {name} --url {url}",
            "`codex mcp login {name}`",
            "`codex mcp remove {name}`",
        ),
        Client(
            "gemini",
            "gemini mcp add --transport http {name} {url}",
            "`/mcp auth {name}` inside Gemini CLI",
            "`gemini mcp remove {name}`",
            ".gemini/settings.json",
            url_key="httpUrl",
            reference="${}",
        ),
        Client(
            "inspector",
            "npx @modelcontextprotocol/inspector --cli {url} --transport http --method tools/list",
            "It shows the address to log in at; without `--cli` it is a web page",
        ),
    )
}


def _desktop_file() -> str:
    """Where Claude Desktop keeps its servers (its page on local MCP servers)."""
    folders = {
        "darwin": Path.home() / "Library" / "Application Support",
        "win32": Path(os.environ.get("APPDATA", Path.home() / "AppData" / "Roaming")),
    }
    return str(folders.get(sys.platform, Path.home() / ".config") / "Claude" / "claude_desktop_config.json")


@dataclass(frozen=True)
class Connection:
    """One client and one workload: what to run, what to write where, and what to do inside the client.

    `variables` are environment variables to set, each with the file that holds its value.
    """

    client: str
    name: str
    url: str
    command: str
    login: str
    removal: str
    file: str
    key: str
    entry: Mapping[str, object]
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Written:
    """What a change did: the file, its backup if it had been there before, and whether anything changed."""

    file: str
    backup: str
    changed: bool


def connection(client: str, workload: str, header_files: Mapping[str, Path] | None = None) -> Connection:
    """How `client` reaches `workload`, which may be a variation.

    `header_files` holds the value of a header that the server needs, by the header's name; a variation's
    practice user has such files already. Raises UsageError for another name.
    """
    instance, variations = Instance.load(), _variations()
    if not instance.endpoints and not variations:
        raise PreflightError(
            "No server is running that a client could connect to",
            hint="Run `workshop up` or `workshop part 4 run --variation NAME` first",
        )
    # The practice GitHub is an endpoint, too, but clients connect to the proxy in front of it.
    reachable = {name: url for name, url in instance.endpoints.items() if url.endswith("/mcp")}
    reachable |= {name: url for name, (url, _) in variations.items()}
    url = reachable.get(workload)
    if url is None:
        raise UsageError(f"`{workload}` is not an MCP endpoint", hint=f"There are {', '.join(reachable)}")
    files = {**(variations[workload][1] if workload in variations else {}), **(header_files or {})}
    return _connection(client, workload, url, {name: str(path.resolve()) for name, path in files.items()})


def former(client: str, workload: str) -> Connection:
    """The connection by name only, to remove it whether or not anything runs."""
    return _connection(client, workload, "", {})


def names() -> list[str]:
    """The workloads that a client can connect to now."""
    endpoints = Instance.load().endpoints
    return [*(name for name, url in endpoints.items() if url.endswith("/mcp")), *_variations()]


def _variations() -> dict[str, tuple[str, dict[str, Path]]]:
    """The variations that run: the address of each, and the file of each header that it needs."""
    from workshop.course.lessons import find_variation
    from workshop.course.variation_run import runs_on_cluster, started_variations

    found = {}
    for programs in started_variations():
        name = programs.directory.name
        if url := programs.endpoints().get(name):
            variation = find_variation(name)
            headers = () if runs_on_cluster(variation) else variation.contents.headers.items()
            files = {header: programs.secret(secret.format(user=_USER)) for header, secret in headers}
            found[name] = (url, files)
    return found


def _connection(client: str, name: str, url: str, files: Mapping[str, str]) -> Connection:
    found = CLIENTS[client]
    variables = {header.upper().replace("-", "_"): header for header in files}
    references = {header: found.reference.format(name) for name, header in variables.items()}
    sent = {"headers": references} if references else {}
    entry = _bridge_entry(url, files) if client == _BRIDGE else {**found.fixed, found.url_key: url, **sent}
    return Connection(
        client,
        name,
        url,
        _command(found, name, url, references),
        "" if name == _WITHOUT_LOGIN else found.login.format(name=name),
        (found.removal or f"`workshop disconnect {client} {name}`" * bool(found.path)).format(name=name),
        found.path,
        found.key,
        entry,
        {} if client == _BRIDGE else {variable: files[header] for variable, header in variables.items()},
    )


def _bridge_entry(url: str, files: Mapping[str, str]) -> dict[str, object]:
    """`workshop bridge` as a client starts it: with this Python, as it does not have this shell's PATH."""
    options = [word for name, path in files.items() for word in ("--header-file", f"{name}={path}")]
    home = {name: os.environ[name] for name in ("WORKSHOP_HOME", INSTANCE) if name in os.environ}
    command = {"command": sys.executable, "args": ["-m", "workshop", "bridge", url, *options]}
    return {**command, **({"env": home} if home else {})}


def _command(client: Client, name: str, url: str, references: Mapping[str, str]) -> str:
    """The client's own command; empty where it cannot add a header without showing its value."""
    command = client.command.format(name=name, url=url)
    if references and client.name == "claude-code":
        return command + "".join(f" --header '{header}: {value}'" for header, value in references.items())
    if references and client.name == "inspector":
        return "npx @modelcontextprotocol/inspector"
    return "" if references else command


def write(connection: Connection) -> Written:
    """Put the entry into the client's file, what was there before into a backup beside it."""
    path, document, bom = _open(connection)
    servers = document.setdefault(connection.key, {})
    if servers.get(connection.name) == connection.entry:
        return Written(str(path), "", changed=False)
    backup = _back_up(path)
    servers[connection.name] = dict(connection.entry)
    _save(path, document, bom)
    return Written(str(path), backup, changed=True)


def remove(connection: Connection) -> Written:
    """Remove the entry; a file of this folder with nothing else in it is removed too."""
    path, document, bom = _open(connection)
    servers = document.get(connection.key, {})
    if connection.name not in servers:
        return Written(str(path), "", changed=False)
    del servers[connection.name]
    # A person's own file (an absolute path) stays, even if it is empty now.
    if document == {connection.key: {}} and not path.is_absolute():
        path.unlink()
        return Written(str(path), "", changed=True)
    backup = _back_up(path)
    _save(path, document, bom)
    return Written(str(path), backup, changed=True)


def _open(connection: Connection) -> tuple[Path, dict[str, Any], str]:
    """The file, its JSON object, and its byte-order mark, if it has one."""
    if not connection.file:
        raise UsageError(
            f"`{connection.client}` has no configuration file that the workshop can write",
            hint=f"`workshop connect {connection.client}` shows what to run instead",
        )
    path = Path(connection.file)
    try:
        text = read_bounded(path).decode("utf-8") if path.exists() else ""
        document = shallow(json.loads(text.removeprefix(_BOM).strip() or "{}", object_pairs_hook=_each_once))
    except json.JSONDecodeError as error:
        why = f"It has a comment, a trailing comma or a mistake: line {error.lineno}, column {error.colno}"
        raise _unusable(path, why) from error
    except (OSError, ValueError, RecursionError) as error:
        raise _unusable(path, reason(error)) from error
    if not isinstance(document, dict) or not isinstance(document.get(connection.key, {}), dict):
        raise _unusable(path, f"`{connection.key}` in it is not an object")
    return path, document, _BOM if text.startswith(_BOM) else ""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; raises ValueError for a key that is there twice, as writing it would lose the first."""
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"It has the key `{key}` twice, and the first would be lost")
        values[key] = value
    return values


def _unusable(path: Path, why: str) -> WorkshopError:
    return UsageError(
        f"`{path}` is not plain JSON with a list of servers, so it is left as it is",
        why=why,
        hint="Add the entry by hand; `workshop connect` without `--write` shows it",
    )


def _back_up(path: Path) -> str:
    """Copy the file beside itself, readable by as few as it is; the name of the copy."""
    if not path.exists():
        return ""
    text = path.read_bytes().decode("utf-8")
    for number in ("", *(f".{count}" for count in range(2, 100))):
        backup = path.with_name(f"{path.name}{_BACKUP}{number}")
        # An equal copy serves again: `connect` and `disconnect` in turn must not fill the folder.
        if not backup.exists() or backup.read_bytes().decode("utf-8") == text:
            backup.touch(mode=path.stat().st_mode & 0o777)  # which `replace_file` leaves as it is
            replace_file(backup, text.encode())
            return str(backup)
    raise UsageError(f"There are 99 backups of `{path}` already", hint="Remove those you do not need")


def _save(path: Path, document: Mapping[str, Any], bom: str) -> None:
    try:
        replace_file(path, f"{bom}{json.dumps(document, indent=2, ensure_ascii=False)}\n".encode())
    except OSError as error:
        raise WorkshopError(f"Cannot write `{path}`", why=reason(error)) from error
