"""The users and record keys of a class that shares one practice GitHub: both sides derive them alike."""

import hashlib
import hmac
from collections.abc import Sequence


def seat_numbers(count: int) -> Sequence[str]:
    """The seats' numbers as their names end: `01` to `99`, then `100`."""
    return [f"{number:02}" for number in range(1, count + 1)]


def seat_user(number: str) -> str:
    """The login of a seat in the practice GitHub."""
    return f"seat-{number}"


def record_key(secret: str, user: str) -> str:
    """The key with which one user reads what the practice GitHub received for that user, 64 hex digits."""
    return hmac.digest(secret.encode(), f"record of {user}".encode(), hashlib.sha256).hex()
