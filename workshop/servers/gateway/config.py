"""The gateway's configuration: one JSON file, with secrets in files it points at, as ToolHive mounts them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workshop.auth import Section, wrong_setting
from workshop.auth.config import Auth, load_auth
from workshop.auth.config_reader import check_header, read_secret
from workshop.core.errors import UsageError
from workshop.core.state_file import DamagedFileError, read_json

_KNOWN = frozenset(
    {"name", "port", "remote_url", "store", "header_forward", "header_forward_files", "tools", "auth"}
)


@dataclass(frozen=True)
class ToolOverride:
    """How a tool of the server is shown: another name, another description, or both."""

    name: str | None
    description: str | None


@dataclass(frozen=True)
class ToolRules:
    """An `MCPToolConfig`: `allowed` holds the names the client sees, after renames; None allows all."""

    allowed: frozenset[str] | None
    overrides: Mapping[str, ToolOverride]


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
    root = Section.of(_read_json(path), "", known=_KNOWN)
    auth = load_auth(root) if root.has("auth") else None
    return GatewayConfig(
        name=root.text("name"),
        port=root.number("port", 8080, 1, 65535),
        remote_url=root.url("remote_url"),
        store=root.text("store"),
        headers=_headers(root, with_auth=auth is not None),
        tools=_tools(root) if root.has("tools") else None,
        auth=auth,
    )


def _read_json(path: Path) -> object:
    try:
        return read_json(path)
    except OSError as error:
        raise UsageError(
            f"Cannot read the gateway's configuration {path}", why=str(error.strerror)
        ) from error
    except DamagedFileError as error:
        raise UsageError(f"The gateway's configuration {path} is not JSON", why=str(error)) from error


def _headers(root: Section, *, with_auth: bool) -> dict[str, str]:
    headers = root.mapping("header_forward")
    for name, file in root.mapping("header_forward_files").items():
        secret = read_secret(file, root.path(f"header_forward_files.{name}"))
        headers[name] = secret.decode("latin-1")
    for name, value in headers.items():
        where = root.path(f"header_forward.{name}")
        check_header(name, value, where)
        if with_auth and name.lower() == "authorization":
            raise wrong_setting(
                where, "It would replace the user's own upstream token", "Remove it, or remove the auth block"
            )
    return headers


def _tools(root: Section) -> ToolRules:
    known = frozenset({"filter", "override"})
    tools = Section.of(root.values["tools"], root.path("tools"), known=known)
    allowed = frozenset(tools.texts("filter")) if tools.has("filter") else None
    overrides = tools.values.get("override") or {}
    if not isinstance(overrides, dict):
        raise wrong_setting(tools.path("override"), "It must map tool names to their overrides")
    rules = {name: _override(value, tools.path(f"override.{name}")) for name, value in overrides.items()}
    shown = [rule.name for rule in rules.values() if rule.name]
    if len(shown) != len(set(shown)):
        raise wrong_setting(tools.path("override"), "Two tools would be shown under one name")
    return ToolRules(allowed, rules)


def _override(value: object, where: str) -> ToolOverride:
    entry = Section.of(value, where, known=frozenset({"name", "description"}))
    return ToolOverride(
        entry.text("name") if entry.has("name") else None,
        entry.text("description") if entry.has("description") else None,
    )
