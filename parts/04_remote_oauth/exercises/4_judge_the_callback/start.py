"""Exercise 4.4: whose code is this?"""

from collections.abc import Mapping


def code_of(query: Mapping[str, str], *, state: str, issuer: str) -> str:
    """The code that came to the callback; raises ValueError for one that cannot be trusted.

    `query` holds what the address carried: `code` or `error`, `state`, `iss`; any of them may be missing.
    `state` is what this login began with, `issuer` where it went.
    """
    # ↓ Your turn.
    return query["code"]
    # ↑
