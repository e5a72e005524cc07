"""What a client hands back when it tries again (`requestState`, MCP 2026-07-28): sealed, for one call."""

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

from workshop.auth.limits import Clock
from workshop.auth.vault import Vault

_SECONDS = 900.0
_PURPOSE = "request state"


class RequestState:
    """Which link a call waits for, and the how-manieth try it is; bound to the call and to who makes it."""

    def __init__(self, vault: Vault, clock: Clock = time.time) -> None:
        self._vault = vault
        self._clock = clock

    def seal(self, call: Mapping[str, Any], link: str, turn: int) -> str:
        """`call` says who calls what with which arguments."""
        state = {"call": _digest(call), "link": link, "turn": turn, "expires": self._clock() + _SECONDS}
        return self._vault.seal(json.dumps(state).encode(), _PURPOSE).hex()

    def open(self, call: Mapping[str, Any], sealed: str) -> tuple[str, int] | None:
        """Link and turn, or None when it is old, not ours, or another call's."""
        try:
            plain = self._vault.unseal(bytes.fromhex(sealed), _PURPOSE)
        except ValueError:
            return None
        state = json.loads(plain) if plain is not None else None
        if state is None or state["call"] != _digest(call) or state["expires"] <= self._clock():
            return None
        return state["link"], state["turn"]


def _digest(call: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(call, sort_keys=True).encode()).hexdigest()
