"""Fields of a userinfo answer, which providers name differently."""

from collections.abc import Mapping
from typing import Any

from workshop.auth.text import visible

_LONGEST = 256


def first_text(answer: Mapping[str, Any], fields: tuple[str, ...]) -> str | None:
    """The first field that has a usable value; GitHub's numeric `id` becomes its digits."""
    for field in fields:
        value = answer.get(field)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, str) and (shown := visible(value)):
            return shown[:_LONGEST]
    return None
