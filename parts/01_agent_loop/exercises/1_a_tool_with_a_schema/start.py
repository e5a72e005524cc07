"""Exercise 1.1: a tool that a model can call correctly."""

KILOMETRES_IN_A_MILE = 1.609344


# ↓ Your turn: a docstring, a type for each parameter, and an error for a negative distance.
def convert(value, unit):
    if unit == "miles":
        return {"kilometres": value * KILOMETRES_IN_A_MILE}
    return {"miles": value / KILOMETRES_IN_A_MILE}


# ↑
