"""What a terminal can show beyond plain lines: hyperlinks, spinners, a pager, a screen that is redrawn."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from workshop.core.result import Point, Result
from workshop.core.streams import printed

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.console import RenderResult
    from rich.markdown import Markdown
    from rich.spinner import Spinner
    from rich.text import Text

WIDEST = 100
"""Lines of text are wrapped at this column, however wide the terminal is: longer ones are hard to read."""
_URL = re.compile(r"https?://[^\s`'\"<>()\[\]…]*[^\s`'\"<>()\[\]….,;:!?]")
_FILE = re.compile(r"(?<=`)[^`\n]*[/.][^`\n]*(?=`)|(?<![\w`:/])/[\w.@~+/-]*\w")
_OWN_ADDRESS = re.compile(r"\[(?P<text>(?P<mark>`?)(?P<address>[^]`\n]+)(?P=mark))\]\((?P=address)\)")
# Terminals that document OSC 8; others may print its bytes, so they get plain text.
_BY_VARIABLE = ("WT_SESSION", "KITTY_WINDOW_ID", "KONSOLE_VERSION", "DOMTERM")
_BY_PROGRAM = {"iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "Tabby", "rio"}
_BY_TERM = ("xterm-kitty", "xterm-ghostty", "foot", "alacritty", "wezterm", "contour")
_FIRST_VTE = 5000  # version 0.50
_FIRST_TMUX = (3, 4)  # earlier ones drop the hyperlinks
_HOME, _CLEAR_LINE, _CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"


def takes_hyperlinks(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal shows OSC 8 hyperlinks; FORCE_HYPERLINK=1 or =0 decides, as in other programs."""
    forced, term = environment.get("FORCE_HYPERLINK"), environment.get("TERM", "")
    if forced:
        return forced != "0"
    if term in {"", "dumb", "linux"}:
        return False
    program = environment.get("TERM_PROGRAM", "")
    if program == "tmux":
        return _version(environment.get("TERM_PROGRAM_VERSION", "")) >= _FIRST_TMUX
    vte = environment.get("VTE_VERSION", "")
    return (
        program in _BY_PROGRAM
        or term.startswith(_BY_TERM)
        or any(name in environment for name in _BY_VARIABLE)
        or (vte.isascii() and vte.isdigit() and int(vte) >= _FIRST_VTE)
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"[0-9]{1,4}", text)[:2])


def link(text: "Text") -> "Text":
    """Make each URL in the text, and each file that exists, a hyperlink."""
    for found in _URL.finditer(text.plain):
        text.stylize(f"link {found[0]}", *found.span())
    for found in _FILE.finditer(text.plain):
        path = Path(found[0]).expanduser() if "://" not in found[0] else None
        if path is not None and _exists(path):
            text.stylize(f"link {path.absolute().as_uri()}", *found.span())
    return text


def markdown_shown(markdown: str, *, hyperlinks: bool) -> "Markdown":
    """Markdown as rich prints it, such as a lesson; without `hyperlinks`, a link's address follows its text.

    Where the text is the address, it is shown once.

    Lines of code are neither wrapped nor indented, so that they can be copied.
    """
    # Rich's Markdown imports a parser, which only lessons, tasks and help topics need.
    from rich.markdown import CodeBlock, Markdown
    from rich.text import Text

    class WholeLines(CodeBlock):
        def __rich_console__(self, *_: object) -> "RenderResult":
            style = "cyan" if self.lexer_name == "sh" else ""
            yield Text(str(self.text).rstrip(), style=style, no_wrap=True, overflow="ignore")

    class Lesson(Markdown):
        elements: ClassVar = {**Markdown.elements, "fence": WholeLines, "code_block": WholeLines}

    return Lesson(markdown if hyperlinks else _OWN_ADDRESS.sub(r"\g<text>", markdown), hyperlinks=hyperlinks)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a text in backticks may be too long for a name, or no name at all
        return False


def pager(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The command of the person's pager, `$PAGER` or less; empty if there is none, or if it is `cat`."""
    try:
        words = shlex.split(environment.get("PAGER", "less"))
    except ValueError:
        return []
    if not words or Path(words[0]).name == "cat" or shutil.which(words[0]) is None:
        return []
    if Path(words[0]).name == "less":  # -R shows our styles; -F and -X are git's defaults
        words += ["-R"] if environment.get("LESS") else ["-RFX"]
    return words


def show_in_pager(text: str, command: list[str]) -> None:
    """Show the text in the pager until the person leaves it; Ctrl-C belongs to the pager meanwhile."""
    import subprocess  # a fifth of the time of `--help`

    in_main = threading.current_thread() is threading.main_thread()
    # Before the pager starts, which may be left at once. Not SIG_IGN, which the pager would inherit.
    before = signal.signal(signal.SIGINT, lambda *_: None) if in_main else None
    try:
        started = subprocess.Popen(
            command, stdin=subprocess.PIPE, text=True, encoding="utf-8", errors="replace"
        )
        with contextlib.suppress(BrokenPipeError):  # left before the end of the text
            started.communicate(text)
        started.wait()
    finally:
        if in_main:
            signal.signal(signal.SIGINT, before)


class Running:
    """A spinner, and after it a line that is made anew each time it is drawn."""

    def __init__(self, line: "Callable[[], Text]", encoding: str) -> None:
        self._line = line
        from rich.spinner import Spinner

        # The first turns in Braille, which an older encoding lacks.
        self._spinner = Spinner("dots" if printed("⠋", encoding) == "⠋" else "line", style="cyan")

    def __rich__(self) -> "Spinner":
        self._spinner.text = self._line()
        return self._spinner


class Screen:
    """A result below a line that states what happens now; both are drawn over what was there before.

    If it does not redraw, each result is printed below the last, and the line is left out.
    """

    def __init__(self, out: "RichConsole", render: Callable[[Result], None], *, redraws: bool) -> None:
        self._out = out
        self._render = render
        self.redraws = redraws
        self._note = ""
        self._result: Result | None = None
        self._size = out.size
        self._drawn = ""

    def note(self, text: str) -> None:
        """State what happens now."""
        self._note = text
        self._draw()

    def show(self, result: Result) -> None:
        """Show this result instead of the last one."""
        if not self.redraws:
            self._render(result)
            return
        following = [Point("→", f"Next: {result.next}")] if result.next else []
        self._result = replace(result, next="", points=[*result.points, *following])
        self._draw()

    def refresh(self) -> None:
        """Draw it again if the size of the terminal has changed."""
        if self._out.size != self._size:
            self._draw()

    def _draw(self) -> None:
        if not self.redraws:
            return
        self._size = self._out.size
        lines = self._lines()
        height = self._out.height
        shown = [*lines[: height - 1], "…"] if len(lines) > height else lines
        # One write, so that nothing flickers; a long line is cut, not wrapped. What was there is cleared
        # before each line: after one as wide as the terminal, its own last character would be cleared.
        drawn = "\n".join(f"{_CLEAR_LINE}{line}" for line in shown)
        text = f"{_HOME}{_NO_WRAP}{drawn}{_CLEAR_REST}{_WRAP}"
        if text != self._drawn:
            self._drawn = text
            self._out.file.write(text)
            self._out.file.flush()

    def _lines(self) -> list[str]:
        from rich.text import Text

        with self._out.capture() as captured:
            self._out.print(Text(self._note, style="cyan"), soft_wrap=True)
            if self._result:
                self._render(self._result)
        return captured.get().splitlines()
