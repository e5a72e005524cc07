"""What is registered: upstream MCP servers, each under a prefix of its own. Data, not code."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from workshop.auth import SecretFile, SecretText, Url
from workshop.servers.variation.service import Service

_PREFIX = re.compile(r"[a-z0-9][a-z0-9_]*")  # as in Kuadrant's MCPServerRegistration


def _prefix(value: str) -> str:
    if not _PREFIX.fullmatch(value):
        raise ValueError(f"does not match {_PREFIX.pattern}: it is {value!r}")
    return value


class Registration(BaseModel):
    """One upstream and its rules.

    `credential` lists its tools and never calls one. The caller's own comes in `user_header`; without that,
    the gateway reports who is asking. `filter` names the tools that exist, `only` the users that one is for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    prefix: Annotated[str, AfterValidator(_prefix)]
    url: Url
    credential: Annotated[SecretText, Field(alias="credential_file")] = ""
    user_header: Annotated[str, AfterValidator(str.lower)] = ""
    filter: frozenset[str] | None = None
    only: Mapping[str, tuple[str, ...]] = {}

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
    signing_key: Annotated[SecretFile, Field(alias="signing_key_file")]
    registrations: Annotated[tuple[Registration, ...], Field(min_length=1), AfterValidator(_apart)]


def find(registered: tuple[Registration, ...], name: str) -> tuple[Registration, str] | None:
    """Whose tool it is, and its name over there; None for one without a prefix, and for a filtered one."""
    for one in registered:
        tool = name.removeprefix(one.prefix)
        if tool != name and one.has(tool):
            return one, tool
    return None
