"""Text from elsewhere, made safe to print: the names, messages and results of servers, clients and tools.

A control character can drive a terminal, a line break can forge a line of ours, and a character without a
shape, or one that turns the direction of writing, makes two different names look alike.
"""

import unicodedata

_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Control characters, halves of a surrogate pair (no UTF-8 stream takes them), ends of lines and paragraphs.
_NEVER = ("Cc", "Cs", "Zl", "Zp")


def plain(text: str) -> str:
    """A foreign text of several lines: control and bidirectional characters are shown as escapes."""
    return "".join(char if char in "\n\t" or _is_plain(char) else f"\\x{ord(char):02x}" for char in text)


def one_line(text: str, most: int = 100) -> str:
    """A foreign name, message or result on one line: white space folded, cut to `most`, and `unbroken`."""
    # cut before folding: a tool may return megabytes
    flat = unbroken(" ".join(text[: 4 * most].split()))
    return flat if len(flat) <= most and len(text) <= 4 * most else f"{flat[:most]}…"


def unbroken(line: str) -> str:
    """A line that has foreign text in it: whatever would break it or cannot be seen is shown as an escape."""
    return "".join(
        char if _is_plain(char) and unicodedata.category(char) != "Cf" else f"\\x{ord(char):02x}"
        for char in line
    )


def _is_plain(char: str) -> bool:
    return unicodedata.category(char) not in _NEVER and char not in _BIDI
