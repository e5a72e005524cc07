"""Versions as programs print them, made comparable."""

import re

Version = tuple[int, int, int]

_NUMBER = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")


def parsed(text: str) -> Version | None:
    """The first version number in a text; None when there is none."""
    found = _NUMBER.search(text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def spelled(version: Version) -> str:
    """A version as a person writes it."""
    return ".".join(str(number) for number in version)
