"""Text of others, made fit to show."""

import unicodedata


def visible(text: str) -> str:
    """`text` without control, format (such as text direction) and private characters, spaces folded."""
    spaced = "".join(" " if char.isspace() else char for char in text)
    return " ".join(
        "".join(char for char in spaced if not unicodedata.category(char).startswith("C")).split()
    )
