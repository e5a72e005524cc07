"""Exercise 1.1: a tool that a model can call correctly."""

from typing import Literal

KILOMETRES_IN_A_MILE = 1.609344


# ↓ A docstring says what it does; `Literal` is an `enum` in the schema, so a wrong unit never gets here.
def convert(value: float, unit: Literal["kilometres", "miles"]) -> dict[str, float]:
    """Convert a distance: miles into kilometres, kilometres into miles; `unit` is the one it is given in."""
    if value < 0:
        raise ValueError(f"A distance is 0 or more, not {value}")
    if unit == "miles":
        return {"kilometres": value * KILOMETRES_IN_A_MILE}
    return {"miles": value / KILOMETRES_IN_A_MILE}


# ↑
