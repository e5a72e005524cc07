"""The gateway's configuration: one JSON file, with secrets in files it points at, as ToolHive mounts them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from workshop.auth import wrong_setting
from workshop.auth.config import Auth, AuthBlock
from workshop.auth.config_reader import (
    Block,
    Pairs,
    Text,
    Texts,
    Url,
    check_header,
    read_block,
    read_secret,
)
from workshop.core.errors import UsageError, reason
from workshop.core.files import DamagedFileError, read_json
from workshop.core.mistakes import Port


class ToolOverride(Block):
    """How a tool of the server is shown: another name, another description, or both."""

    name: Text | None = None
    description: Text | None = None


@dataclass(frozen=True)
class ToolRules:
    """An `MCPToolConfig`: `allowed` holds the names the client sees, after renames; None allows all."""

    allowed: frozenset[str] | None
    overrides: Mapping[str, ToolOverride]


class _Tools(Block):
    filter: Texts | None = None
    override: dict[str, ToolOverride] | None = None

    def rules(self) -> ToolRules:
        overrides = self.override or {}
        shown = [rule.name for rule in overrides.values() if rule.name]
        if len(shown) != len(set(shown)):
            raise wrong_setting("tools.override", "Two tools would be shown under one name")
        return ToolRules(None if self.filter is None else frozenset(self.filter), overrides)


class _File(Block):
    name: Text
    port: Port = 8080
    remote_url: Url
    store: Text
    header_forward: Pairs = Field(default_factory=dict)
    header_forward_files: Pairs = Field(default_factory=dict)
    tools: _Tools | None = None
    auth: AuthBlock | None = None


@dataclass(frozen=True)
class GatewayConfig:
    """One gateway: where it listens, what it relays to, and its authorization server, if it has one."""

    name: str
    port: int
    remote_url: str
    store: str
    headers: Mapping[str, str] = field(repr=False)
    tools: ToolRules | None
    auth: Auth | None


def load(path: Path) -> GatewayConfig:
    """Read the configuration and every secret it names.

    Raises UsageError with the setting, the problem and a hint.
    """
    root = read_block(_File, _read_json(path))
    return GatewayConfig(
        name=root.name,
        port=root.port,
        remote_url=root.remote_url,
        store=root.store,
        headers=_headers(root),
        tools=root.tools.rules() if root.tools else None,
        auth=root.auth.read() if root.auth else None,
    )


def _read_json(path: Path) -> object:
    try:
        return read_json(path)
    except OSError as error:
        raise UsageError(f"Cannot read the gateway's configuration {path}", why=reason(error)) from error
    except DamagedFileError as error:
        raise UsageError(f"The gateway's configuration {path} is not JSON", why=str(error)) from error


def _headers(root: _File) -> dict[str, str]:
    headers = dict(root.header_forward)
    for name, file in root.header_forward_files.items():
        headers[name] = read_secret(file, f"header_forward_files.{name}").decode("latin-1")
    for name, value in headers.items():
        where = f"header_forward.{name}"
        check_header(name, value, where)
        if root.auth and name.lower() == "authorization":
            raise wrong_setting(
                where, "It would replace the user's own upstream token", "Remove it, or remove the auth block"
            )
    return headers
