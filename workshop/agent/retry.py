"""When to ask a busy server again: by its `Retry-After` (RFC 9110 section 10.2.3), else by back-off."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED = frozenset({429, 500, 502, 503, 504, 529})
LONGEST_WAIT = 20.0
"""Seconds; who asks for more is told to the person instead of being waited for in silence."""


def wait_before(attempt: int, headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds to wait after failed attempt `attempt` (from 1); None when the server asks for too long."""
    asked = headers.get("retry-after")
    seconds = _seconds(asked, now or datetime.now(UTC)) if asked else None
    if seconds is None:
        return min(2.0 ** (attempt - 1), LONGEST_WAIT)
    return seconds if seconds <= LONGEST_WAIT else None


def _seconds(value: str, now: datetime) -> float | None:
    if value.strip().isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date.astimezone(UTC) - now).total_seconds())
