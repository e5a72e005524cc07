"""The pages of the project taken apart: their commands, tables, headings, links and inline code."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOPICS = ROOT / "workshop" / "cli" / "topics"
# In the order in which their commands run.
PAGES = (
    ROOT / "README.md",
    *(TOPICS / f"{name}.md" for name in ("attend", "run", "backends", "cluster", "github", "probe")),
    *(TOPICS / f"{name}.md" for name in ("clients", "variations", "room", "json", "environment")),
    *(TOPICS / f"{name}.md" for name in ("exit-codes", "output", "troubleshooting", "words")),
    *(ROOT / folder / "README.md" for folder in ("workshop", "parts", "cluster", "tests")),
    ROOT / ".github" / "CONTRIBUTING.md",
)
_FENCED = re.compile(r"^```\w*\n.*?^```$", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Command:
    """One line of a code block without its `uv run`, and the exit code that its comment names."""

    page: str
    text: str
    exit_code: int

    @property
    def words(self) -> Sequence[str]:
        """The words of the command up to a pipe."""
        words = shlex.split(self.text)
        return words[: words.index("|")] if "|" in words else words

    @property
    def filter(self) -> Sequence[str]:
        """The words of the program behind the pipe; empty without one."""
        words = shlex.split(self.text)
        return words[words.index("|") + 1 :] if "|" in words else ()


def text_of(page: Path) -> str:
    """The Markdown text of a page."""
    return page.read_text(encoding="utf-8")


TEXT = "\n".join(text_of(page) for page in PAGES)


def topic(name: str) -> str:
    """The Markdown text of a topic of `workshop help`."""
    return text_of(TOPICS / f"{name}.md")


def commands() -> Iterator[Command]:
    """Every command line of every code block, page by page."""
    for page in PAGES:
        for block in _BLOCK.findall(text_of(page)):
            for line in block.replace("\\\n", "").splitlines():
                text, _, comment = line.partition(" #")
                stated = re.search(r"exit (\d+) until", comment)
                text = " ".join(text.removeprefix("uv run ").split())
                yield Command(page.stem, text, int(stated[1]) if stated else 0)


def block_lines(page: Path) -> list[str]:
    """Every line of the code blocks of a page, as it is written."""
    return [line for block in _BLOCK.findall(text_of(page)) for line in block.splitlines()]


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table below this row of headings."""
    _, _, below = page.partition(f"\n{heading}\n")
    table = below.split("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in table]


def links(page: Path) -> list[str]:
    """What a page links to or shows."""
    return _LINK.findall(text_of(page))


def code(page: Path) -> list[str]:
    """The inline code of a page, outside blocks."""
    return _CODE.findall(_FENCED.sub("", text_of(page)))
