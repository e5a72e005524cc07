"""Connect other MCP clients to what is up: the command to run, or an entry in the client's own project file.

Only files of the current folder are written, never a person's own settings.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workshop.core.errors import PreflightError, UsageError, WorkshopError
from workshop.core.instance import Instance
from workshop.core.paths import replace_text

WHY_LOCALHOST = (
    "Write `localhost`, not `127.0.0.1`: issuer, audience and callback say `localhost`, "
    "and OAuth compares them letter by letter"
)
_BACKUP = ".before-workshop"


@dataclass(frozen=True)
class Client:
    """An MCP client: its command line, and where and how its project file names a server."""

    name: str
    command: str
    removal: str = ""
    file: str | None = None
    key: str = "mcpServers"
    typed: bool = True

    def entry(self, url: str) -> dict[str, str]:
        """The server's entry in the project file."""
        return {"type": "http", "url": url} if self.typed else {"url": url}


CLIENTS = {
    client.name: client
    for client in (
        Client(
            "claude-code",
            "claude mcp add --transport http {name} {url}",
            "claude mcp remove {name}",
            ".mcp.json",
        ),
        Client(
            "vscode",
            """code --add-mcp '{{"name": "{name}", "type": "http", "url": "{url}"}}'""",
            file=".vscode/mcp.json",
            key="servers",
        ),
        Client("cursor", "", file=".cursor/mcp.json", typed=False),
        Client(
            "inspector",
            "npx @modelcontextprotocol/inspector --cli {url} --transport http --method tools/list",
        ),
    )
}


@dataclass(frozen=True)
class Connection:
    """One client and one workload: what to run, or what to write where."""

    client: str
    name: str
    url: str
    command: str
    removal: str
    file: str
    key: str
    entry: Mapping[str, str]


@dataclass(frozen=True)
class Written:
    """What a change did: the file, its backup if it had been there before, and whether anything changed."""

    file: str
    backup: str
    changed: bool


def connection(client: str, workload: str) -> Connection:
    """How `client` reaches `workload`; raises UsageError for another name."""
    endpoints = Instance.load().endpoints
    if not endpoints:
        raise PreflightError("Nothing is up that a client could connect to", hint="Run `workshop up` first")
    reachable = {name: url for name, url in endpoints.items() if url.endswith("/mcp")}
    url = reachable.get(workload)
    if url is None:
        raise UsageError(f"`{workload}` is no MCP endpoint", hint=f"There are {', '.join(reachable)}")
    return _connection(client, workload, url)


def former(client: str, workload: str) -> Connection:
    """The connection by name only, to take it away whether or not anything is up."""
    return _connection(client, workload, "")


def _connection(client: str, workload: str, url: str) -> Connection:
    found = CLIENTS[client]
    name = workload if workload.startswith("workshop") else f"workshop-{workload}"
    return Connection(
        client,
        name,
        url,
        found.command.format(name=name, url=url),
        found.removal.format(name=name),
        found.file or "",
        found.key,
        found.entry(url),
    )


def write(connection: Connection) -> Written:
    """Put the entry into the client's project file, what was there before into a backup beside it."""
    path, document = _open(connection)
    servers = document.setdefault(connection.key, {})
    if servers.get(connection.name) == connection.entry:
        return Written(str(path), "", changed=False)
    backup = _back_up(path)
    servers[connection.name] = dict(connection.entry)
    _save(path, document)
    return Written(str(path), backup, changed=True)


def remove(connection: Connection) -> Written:
    """Take the entry out again; a file with nothing else in it goes with it."""
    path, document = _open(connection)
    servers = document.get(connection.key, {})
    if connection.name not in servers:
        return Written(str(path), "", changed=False)
    del servers[connection.name]
    if document == {connection.key: {}}:
        path.unlink()
        return Written(str(path), "", changed=True)
    backup = _back_up(path)
    _save(path, document)
    return Written(str(path), backup, changed=True)


def _open(connection: Connection) -> tuple[Path, dict[str, Any]]:
    if not connection.file:
        raise UsageError(
            f"`{connection.client}` keeps no project file", hint="Nothing needs to be written for it"
        )
    path = Path(connection.file)
    try:
        document = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise _unusable(path, str(error)) from error
    if not isinstance(document, dict) or not isinstance(document.get(connection.key, {}), dict):
        raise _unusable(path, f"`{connection.key}` in it is no object")
    return path, document


def _unusable(path: Path, why: str) -> WorkshopError:
    return UsageError(
        f"`{path}` is not plain JSON with a list of servers, so it is left as it is",
        why=why,
        hint="Add the entry by hand; `workshop connect` without `--write` shows it",
    )


def _back_up(path: Path) -> str:
    if not path.exists():
        return ""
    text = path.read_text(encoding="utf-8")
    for number in ("", *(f".{count}" for count in range(2, 100))):
        backup = path.with_name(f"{path.name}{_BACKUP}{number}")
        if not backup.exists() or backup.read_text(encoding="utf-8") == text:
            replace_text(backup, text)
            return str(backup)
    raise UsageError(f"There are 99 backups of `{path}` already", hint="Remove those you do not need")


def _save(path: Path, document: Mapping[str, Any]) -> None:
    try:
        replace_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise WorkshopError(f"Cannot write `{path}`", why=error.strerror or str(error)) from error
