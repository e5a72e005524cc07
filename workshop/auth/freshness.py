"""How long a fetched document may be used again, by HTTP's rules (RFC 9111 section 4.2) within our bounds."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

SHORTEST_SECONDS, LONGEST_SECONDS = 10.0, 24 * 3600.0
_DELTA = re.compile(r"[0-9]{1,9}")


def fresh_seconds(headers: Mapping[str, str], default: float) -> float:
    """Seconds to keep an answer: never under 10, so that a reload is no second fetch, never over a day."""
    named = {name.lower(): value for name, value in headers.items()}
    return min(LONGEST_SECONDS, max(SHORTEST_SECONDS, _stated(named, default)))


def _stated(headers: Mapping[str, str], default: float) -> float:
    directives = _directives(headers.get("cache-control", ""))
    if directives.keys() & {"no-store", "no-cache", "private"}:
        return 0.0
    age = headers.get("age", "0")
    spent = float(age) if _DELTA.fullmatch(age) else 0.0
    if "max-age" in directives:
        # What cannot be read is stale (RFC 9111 section 4.2.1).
        return float(directives["max-age"]) - spent if _DELTA.fullmatch(directives["max-age"]) else 0.0
    if "expires" in headers:
        return _lifetime(headers) - spent
    return default


def _directives(header: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in header.split(","))
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def _lifetime(headers: Mapping[str, str]) -> float:
    try:
        expires, sent = (parsedate_to_datetime(headers[name]) for name in ("expires", "date"))
        return (expires - sent).total_seconds()
    except (KeyError, ValueError, TypeError):
        return 0.0
