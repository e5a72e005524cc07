"""What is registered: upstream MCP servers, each under a prefix of its own. Data, not code."""

import asyncio
import logging
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from workshop.auth import SecretFile, SecretText, Url, check_header
from workshop.core.errors import UsageError
from workshop.servers.variation.service import Service, load

_LOG = logging.getLogger(__name__)
_PREFIX = re.compile(r"[a-z0-9][a-z0-9_]*")  # as in Kuadrant's MCPServerRegistration
_SET_HERE = frozenset({"authorization", "accept", "content-type", "cookie"})
_RELOAD_SECONDS = 2.0


def _prefix(value: str) -> str:
    if not _PREFIX.fullmatch(value):
        raise ValueError(f"does not match {_PREFIX.pattern}: it is {value!r}")
    return value


def _headers(value: Mapping[str, str]) -> Mapping[str, str]:
    for name, text in value.items():
        check_header(name, text, f"registrations.headers.{name}")
        if name.lower() in _SET_HERE or name.lower().startswith("mcp-"):
            raise ValueError(f"cannot have {name}: the gateway sets it")
    return value


class Registration(BaseModel):
    """One upstream and its rules; it is at `url`, or it is the process `command` with `environment`.

    `credential` lists its tools and never calls one. The caller's own comes in `user_header`; without that,
    the gateway reports who is asking. Over stdio, a credential is in `credential_variable`. `credential_help`
    is where people get theirs. `headers` are sent with every request. `filter` names the tools that exist,
    `only` the users that one is for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    prefix: Annotated[str, AfterValidator(_prefix)]
    name: str = ""
    url: Url | None = None
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    headers: Annotated[Mapping[str, str], AfterValidator(_headers)] = {}
    credential: Annotated[SecretText, Field(alias="credential_file")] = ""
    credential_variable: str = ""
    credential_help: str = ""
    user_header: Annotated[str, AfterValidator(str.lower)] = ""
    filter: frozenset[str] | None = None
    only: Mapping[str, tuple[str, ...]] = {}

    @model_validator(mode="after")
    def _has_one_address(self) -> Self:
        if bool(self.url) == bool(self.command):
            raise ValueError("needs either `url` or `command`")
        if self.command and (self.headers or (self.user_header and not self.credential_variable)):
            raise ValueError(
                "is a process: it has no `headers`, and gets a credential in `credential_variable`"
            )
        return self

    @property
    def shown_name(self) -> str:
        return self.name or self.prefix.rstrip("_")

    @property
    def target(self) -> tuple[str, str]:
        """Where it is, for a person: host and path, or the program and nothing."""
        parts = urlsplit(self.url or "")
        return (parts.netloc, parts.path) if self.url else (Path(self.command[0]).name, "")

    def has(self, tool: str) -> bool:
        return self.filter is None or tool in self.filter

    def allows(self, tool: str, user: str) -> bool:
        return tool not in self.only or user in self.only[tool]


def _apart(registered: tuple[Registration, ...]) -> tuple[Registration, ...]:
    """Without this, one name could be a tool of two servers."""
    for index, one in enumerate(registered):
        for other in registered[:index] + registered[index + 1 :]:
            if one.prefix.startswith(other.prefix):
                raise ValueError(f"has the prefix {one.prefix!r}, which starts with {other.prefix!r}")
    return registered


class GatewayConfig(Service):
    """The gateway's file: who issues its callers' tokens, the key for its passes, its upstream servers."""

    issuer: Url
    jwks_uri: Url
    required_scopes: tuple[str, ...] = ()
    other_audiences: tuple[str, ...] = ()
    signing_key: Annotated[SecretFile, Field(alias="signing_key_file")]
    registrations: Annotated[tuple[Registration, ...], Field(min_length=1), AfterValidator(_apart)]


class Registered:
    """The registrations that are in force; a change of the file or of a secret replaces them.

    Requests under way keep those that they began with. A file with a mistake changes nothing, and is logged.
    """

    def __init__(self, config: GatewayConfig, file: Path) -> None:
        self._config, self._file, self._problem = config, file, ""
        self._since = dict.fromkeys((one.prefix for one in config.registrations), time.time())

    def __call__(self) -> tuple[Registration, ...]:
        return self._config.registrations

    def since(self, one: Registration) -> float:
        """When it was registered as it is now, in seconds of the epoch."""
        return self._since.get(one.prefix, time.time())

    async def watch(self) -> None:
        """Read the file again every other second."""
        while True:
            await asyncio.sleep(_RELOAD_SECONDS)
            self.reload()

    def reload(self) -> None:
        """Read the file again; only the registrations of a running gateway can change."""
        try:
            new = load(GatewayConfig, self._file)
        except UsageError as error:
            self._report(f"not reloaded: {error.what}")
            return
        if new.model_copy(update={"registrations": ()}) != self._config.model_copy(
            update={"registrations": ()}
        ):
            self._report("a change outside `registrations` needs a restart")
        if new.registrations != self._config.registrations:
            before = {one.prefix: one for one in self._config.registrations}
            changed = [one for one in new.registrations if before.get(one.prefix) != one]
            self._since |= dict.fromkeys((one.prefix for one in changed), time.time())
            self._config = self._config.model_copy(update={"registrations": new.registrations})
            _LOG.info("registrations reloaded: %s", ", ".join(one.shown_name for one in new.registrations))

    def _report(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            _LOG.warning(problem)


def find(registered: tuple[Registration, ...], name: str) -> tuple[Registration, str] | None:
    """Whose tool it is, and its name over there; None for one without a prefix, and for a filtered one."""
    for one in registered:
        tool = name.removeprefix(one.prefix)
        if tool != name and one.has(tool):
            return one, tool
    return None
