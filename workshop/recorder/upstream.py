"""What is behind the gateway, and what it can tell of the requests that reached it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from workshop.recorder.hop import Hop


def _nothing(_since: datetime) -> Sequence[Hop]:
    return ()


@dataclass(frozen=True)
class Upstream:
    """The server behind the gateway; `seen` gives the hops it saw since then, if it keeps a record."""

    name: str = "GitHub"
    url: str = ""
    seen: Callable[[datetime], Sequence[Hop]] = _nothing


UNKNOWN = Upstream()
"""All that is known of it is that it is GitHub."""
