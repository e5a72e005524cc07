"""What is registered: upstream MCP servers, each under a prefix of its own. Data, not code."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from workshop.auth import Section, wrong_setting

_PREFIX = re.compile(r"[a-z0-9][a-z0-9_]*")  # as in Kuadrant's MCPServerRegistration
_KNOWN = frozenset({"prefix", "url", "credential_file", "user_header", "filter", "only"})


@dataclass(frozen=True)
class Registration:
    """One upstream and its rules.

    `credential` lists its tools and never calls one. The caller's own comes in `user_header`; without that,
    the gateway says who is asking. `filter` names the tools there are, `only` the users that one is for.
    """

    prefix: str
    url: str
    credential: str = field(repr=False)
    user_header: str
    filter: frozenset[str] | None
    only: Mapping[str, tuple[str, ...]]

    def has(self, tool: str) -> bool:
        return self.filter is None or tool in self.filter

    def allows(self, tool: str, user: str) -> bool:
        return tool not in self.only or user in self.only[tool]


def read_registrations(config: Section) -> tuple[Registration, ...]:
    """Raises UsageError for an invalid registration, or when one prefix starts with another."""
    items = config.values.get("registrations")
    if not isinstance(items, list) or not items:
        raise wrong_setting("registrations", "It must be a list of upstream servers")
    found = tuple(_read(item, f"registrations.{index}") for index, item in enumerate(items))
    for index, one in enumerate(found):
        if any(one.prefix.startswith(other.prefix) for other in found if other is not one):
            raise wrong_setting(
                f"registrations.{index}.prefix", f"{one.prefix!r} starts with another one's prefix"
            )
    return found


def find(registered: tuple[Registration, ...], name: str) -> tuple[Registration, str] | None:
    """Whose tool it is, and its name over there; None for one without a prefix, and for a filtered one."""
    for one in registered:
        tool = name.removeprefix(one.prefix)
        if tool != name and one.has(tool):
            return one, tool
    return None


def _read(item: object, where: str) -> Registration:
    section = Section.of(item, where, known=_KNOWN)
    prefix, only = section.text("prefix"), section.values.get("only", {})
    if not _PREFIX.fullmatch(prefix):
        raise wrong_setting(section.path("prefix"), f"{prefix!r} does not match {_PREFIX.pattern}")
    if not isinstance(only, dict):
        raise wrong_setting(section.path("only"), "It must map tools to lists of users")
    return Registration(
        prefix=prefix,
        url=section.url("url"),
        credential=section.secret_file("credential_file").decode() if section.has("credential_file") else "",
        user_header=section.text("user_header").lower() if section.has("user_header") else "",
        filter=frozenset(section.texts("filter")) if section.has("filter") else None,
        only={tool: Section(only, section.path("only")).texts(tool) for tool in only},
    )
