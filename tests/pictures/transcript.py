"""What is left on the screen when a command has ended, from everything it sent to the terminal."""

import re

_PIECE = re.compile(r"\x1b\[(?P<count>\d*)(?P<what>[AK])|\x1b\[\?25[lh]|(?P<end>\r*\n)|\r")


def transcript(sent: str) -> str:
    """The lines that stay, with their colours; knows what rich's live displays do, and no more."""
    lines, row, at = [""], 0, 0
    for piece in _PIECE.finditer(sent):
        lines[row] += sent[at : piece.start()]
        at = piece.end()
        if piece["what"] == "A":
            row = max(0, row - int(piece["count"] or 1))
        elif piece["what"] == "K":
            lines[row] = ""
        elif piece["end"]:
            row += 1
            lines += [""] * (row + 1 - len(lines))
    lines[row] += sent[at:]
    return "\n".join(lines).strip("\n")
