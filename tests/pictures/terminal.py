"""The README's picture of the terminal: part 4, run for real on a terminal, drawn by rich.

Run: uv run python -m tests.pictures.terminal
"""

import io
import re
from pathlib import Path

import pexpect
from rich.console import Console
from rich.text import Text

from tests.environment import IsolatedInstance
from tests.pictures.instance import PICTURES, PORTS, running_instance
from tests.pictures.transcript import transcript

FILE = PICTURES / "terminal.svg"
COMMAND = ("part", "4", "run", "--approve-as", "learner")
_WIDTH = 100  # the width of the pictured terminal
# rich would fetch its font from a network; the reader's monospace does.
_FETCHED = re.compile(r" *@font-face \{.*?\}\n|<!--.*?-->", re.DOTALL)


def main() -> None:
    with running_instance(PORTS) as instance:
        draw(instance, FILE)


def draw(instance: IsolatedInstance, file: Path) -> None:
    """Run the command in an instance that is up, and draw the final screen."""
    words = " ".join(("workshop", *COMMAND))
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), color_system="truecolor")
    console.print(Text.assemble(("$ ", "bold green"), (words, "bold")))
    for line in Text.from_ansi(performed(instance)).split(allow_blank=True):
        for row in line.divide(range(_WIDTH, len(line), _WIDTH)):  # where a terminal breaks, in mid-word too
            console.print(row)
    svg = _FETCHED.sub("", console.export_svg(title="Part 4: GitHub's server behind OAuth", unique_id="w"))
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", encoding="utf-8")


def performed(instance: IsolatedInstance) -> str:
    """What the command leaves on a terminal."""
    child = instance.spawn(*COMMAND, timeout=100)
    child.expect(pexpect.EOF)
    child.close()
    shown = str(child.before)
    if child.exitstatus:
        raise SystemExit(shown)
    return transcript(shown)


if __name__ == "__main__":
    main()
