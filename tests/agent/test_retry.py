"""How long to wait before asking a busy server again."""

from datetime import UTC, datetime

import pytest

from workshop.agent.http import LONGEST_WAIT, wait_before

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("attempt", "headers", "seconds"),
    [
        (1, {}, 1),
        (3, {}, 4),
        (9, {}, LONGEST_WAIT),
        (1, {"retry-after": "7"}, 7),
        (1, {"retry-after": "0"}, 0),
        (1, {"retry-after": "3600"}, None),
        (1, {"retry-after": "Sat, 21 Nov 2026 12:00:05 GMT"}, 5),
        (1, {"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0),
        (1, {"retry-after": "Sat, 21 Nov 2026 13:00:00 GMT"}, None),
        (2, {"retry-after": "soon"}, 2),
        *[
            (2, {"retry-after": odd}, 2)
            for odd in ("²", "٣", "-5", "1.5", "1e9", "", "nan", "Mon", "Fri, 31 Dec 9999 23:59:59 -2359")
        ],
        (2, {"retry-after": "9" * 400}, None),
    ],
)
def test_the_server_reports_how_long_and_else_the_wait_doubles(
    attempt: int, headers: dict[str, str], seconds: float | None
) -> None:
    assert wait_before(attempt, headers, NOW) == seconds
