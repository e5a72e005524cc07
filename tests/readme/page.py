"""The README taken apart: its commands, tables, headings, links and inline code."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Command:
    """One line of a code block, and the exit code its comment speaks of."""

    text: str
    exit_code: int

    @property
    def words(self) -> Sequence[str]:
        """The words behind `uv run`."""
        return shlex.split(self.text.removeprefix("uv run "))


def commands() -> Iterator[Command]:
    """Every command line of every code block, in order."""
    for block in _BLOCK.findall(TEXT):
        for line in block.replace("\\\n", "").splitlines():
            text, _, comment = line.partition(" #")
            told = re.search(r"exit (\d+) until", comment)
            yield Command(" ".join(text.split()), int(told[1]) if told else 0)


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table below this row of headings."""
    _, _, below = page.partition(f"\n{heading}\n")
    table = below.split("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in table]


def links() -> list[str]:
    """What the page links to or shows."""
    return _LINK.findall(TEXT)


def code() -> list[str]:
    """Inline code, outside blocks."""
    return _CODE.findall(_BLOCK.sub("", TEXT))
