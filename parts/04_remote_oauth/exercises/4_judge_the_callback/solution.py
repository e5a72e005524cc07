"""Exercise 4.4: whose code is this?"""

import hmac
from collections.abc import Mapping


def code_of(query: Mapping[str, str], *, state: str, issuer: str) -> str:
    """The code that came to the callback; raises ValueError for one that cannot be trusted.

    `query` holds what the address carried: `code` or `error`, `state`, `iss`; any of them may be missing.
    `state` is what this login began with, `issuer` where it went.
    """
    # ↓ First whose it is, then who sent it, then what it says. `compare_digest` takes equally long wherever
    # two texts differ, so the time of an answer does not help to guess `state`.
    if not hmac.compare_digest(query.get("state", "").encode(), state.encode()):
        raise ValueError("The callback does not belong to this login")
    if query.get("iss") != issuer:
        raise ValueError(f"The login went to {issuer}, and this came from {query.get('iss')}")
    if "error" in query:
        raise ValueError(f"The authorization server reported {query['error']}")
    if not query.get("code"):
        raise ValueError("It carries neither a code nor an error")
    return query["code"]
    # ↑
