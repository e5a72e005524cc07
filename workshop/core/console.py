"""The only module that prints: data to stdout, everything else to stderr."""

import contextlib
import functools
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from rich.console import Console as RichConsole
from rich.console import ConsoleDimensions, Group, RenderableType
from rich.text import Text

from workshop.core.errors import WorkshopError
from workshop.core.invocation import runnable, runnable_markdown
from workshop.core.result import Point, Result, Table, envelope, error_envelope
from workshop.core.screen import (
    WIDEST,
    Running,
    Screen,
    link,
    markdown_shown,
    pager,
    show_in_pager,
    takes_hyperlinks,
)
from workshop.core.streams import printed
from workshop.core.tables import laid_out
from workshop.core.text import plain, unbroken

if TYPE_CHECKING:
    from rich.live import Live

# `-qq`.
_NO_WARNINGS = -2
# Rich needs some width; in a pipe no row may be wrapped.
_WIDE = 10_000
_MOST_INDENT = 4
_MARKS = {"done": ("✓", "green"), "failed": ("✗", "bold red"), "stopped": ("■", "yellow")}
_STYLES = {**dict(_MARKS.values()), "→": "cyan", "+": "green", "-": "red"}


@dataclass
class Step:
    """One line of progress; `note` sets the detail shown after its label."""

    label: str
    bound: float | None = None
    """The most seconds that it may take, if that is known."""
    started: float = field(init=False)
    paused: float | None = None
    detail: str = ""

    def __post_init__(self) -> None:
        """Start its clock."""
        self.started = time.monotonic()

    def note(self, text: str) -> None:
        """Set the detail shown after the label."""
        self.detail = text

    def pause(self) -> None:
        """Stop its clock, because a person is asked."""
        self.paused = time.monotonic() if self.paused is None else self.paused

    def resume(self) -> None:
        """Let its clock go on."""
        if self.paused is not None:
            self.started += time.monotonic() - self.paused
            self.paused = None

    @property
    def seconds(self) -> float:
        """How long it has taken, without its pauses."""
        return (time.monotonic() if self.paused is None else self.paused) - self.started

    @property
    def limit(self) -> str:
        """The bound of a wait and how to end it before, in words."""
        return f"at most {self.bound:.0f} s; Ctrl-C stops it" if self.bound is not None else ""


class Console:
    """Prints for a person or, when a stream is not a terminal, for a log; hides known secrets.

    `verbosity`: below 0 only data, errors and required lines; 1 also shows the commands that are run, 2 their
    output too.
    """

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = _rich(out or sys.stdout)
        self._err = _rich(err or sys.stderr)
        self._hyperlinks = takes_hyperlinks()
        self._secrets: list[str] = []
        self.verbosity = 0
        self.asks = True  # whether prompts are allowed, if there is a terminal
        self.answered = False  # whether the JSON document has been printed

    @property
    def can_ask(self) -> bool:
        """Whether a person can be prompted."""
        return self.asks and sys.stdin.isatty() and self._err.file.isatty()

    @property
    def hidden(self) -> Sequence[str]:
        """The values that are printed as `***`."""
        return tuple(self._secrets)

    def hide(self, secrets: Sequence[str]) -> None:
        """Print `***` in place of each of these values from now on."""
        self._secrets += [secret for secret in secrets if secret]

    def out(self, text: str) -> None:
        """Print data to stdout, unformatted; its commands stay plain, because a program may read it."""
        self._out.print(self._linked(Text(self.masked(text)), self._out), soft_wrap=True)

    def raw(self, text: str) -> None:
        """Write another program's output to stdout unchanged."""
        self._out.file.write(text)
        self._out.file.flush()

    def say(self, text: str, style: str = "") -> None:
        """Print a line to stderr, unless `--quiet` was given."""
        if self.verbosity >= 0:
            self.tell(text, style)

    def tell(self, text: str, style: str = "") -> None:
        """Print a line to stderr, also with `--quiet`."""
        self.print(Text(self.for_person(text), style=style))

    def print(self, text: Text) -> None:
        """Print styled text to stderr; lines break between words, never inside a URL."""
        longest = max((len(word) for word in text.plain.split()), default=0)
        width = _text_width(self._err)
        if not self._err.file.isatty() or longest + _MOST_INDENT >= width:
            self._err.print(self._linked(text, self._err), soft_wrap=True)
            return
        for line in self._linked(text, self._err).split("\n"):
            self._wrapped(line, width)

    def _wrapped(self, text: Text, width: int) -> None:
        """Print one line to a terminal; what does not fit goes on below its first word."""
        bare = text.plain.lstrip(" ")
        indent = len(text.plain) - len(bare) + (len("→ ") if bare.startswith("→ ") else 0)
        lines = text[indent:].wrap(self._err, width - indent) or [Text()]
        for number, line in enumerate(lines):
            line.rstrip()
            head = text[:indent] if number == 0 else Text(" " * indent)
            self._err.print(head + line, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print a warning to stderr; `-qq` silences it."""
        if self.verbosity > _NO_WARNINGS:
            self.tell(f"Warning: {text}", "yellow")

    def error(self, error: WorkshopError) -> None:
        """Print an error: what happened, why, and what to do."""
        head = Text("Error: ", style="bold red").append(
            self.for_person(unbroken(error.what)), style="not bold default"
        )
        self._err.print(self._linked(head, self._err), soft_wrap=True)
        if error.why:
            self.tell(textwrap.indent(plain(error.why), "  "))
        if error.hint:
            self.tell(f"  → {plain(error.hint)}", "cyan")

    def error_json(self, command: str, error: WorkshopError) -> None:
        """Print the error envelope to stdout, unless the JSON document has been printed already."""
        if not self.answered:
            self.answered = True
            self.out(error_envelope(command, error))

    def render(self, result: Result, *, as_json: bool = False) -> None:
        """Print a command's result, for a person or as one JSON envelope."""
        if as_json:
            document = envelope(result)
            self.answered = True
            self.out(document)
            return
        if result.headline:
            self._headline(result.headline)
        for line in result.lines:
            self.out(runnable(line))
        for point in result.points:
            self._point(point)
        if result.table:
            self._print_table(result.table)
        if result.markdown:
            self._markdown(self.masked(runnable_markdown(result.markdown)))
        if result.next:
            self.say(f"Next: {result.next}", "cyan")

    def _headline(self, text: str) -> None:
        if self._out.file.isatty():
            self._out.print()
        shown = Text("\n".join(self._lines(self.for_person(text), "")), style="bold")
        self._out.print(self._linked(shown, self._out), soft_wrap=True)

    def _markdown(self, markdown: str) -> None:
        """Print Markdown; on a terminal, what is longer than the screen goes through the person's pager."""
        text = markdown_shown(markdown, hyperlinks=self._hyperlinks and self._out.file.isatty())
        with self._out.capture() as captured:
            self._out.print(text, width=_text_width(self._out), crop=False)
        command = pager() if self.can_ask and self._out.file.isatty() else []
        if command and captured.get().count("\n") >= self._out.height:
            show_in_pager(captured.get(), command)
        else:
            self.raw(captured.get())

    def _point(self, point: Point) -> None:
        self._hanging(f"{point.mark} {point.text}", "")
        for detail in point.details:
            self._hanging(detail, "    ")

    def _hanging(self, text: str, margin: str) -> None:
        """Print a line; on a terminal, wrapped lines are indented below its first word."""
        first, _, rest = self.for_person(text).partition(" ")
        style = _STYLES.get(first, "")
        is_mark = first in _STYLES or (len(first) == 1 and not first.isalnum())
        indent = margin + " " * (len(first) + 1) if is_mark else margin
        shown = Text("\n".join(self._lines(f"{margin}{first} {rest}".rstrip(), indent)))
        if style:
            shown.stylize(style, len(margin), len(margin) + len(first))
        self._out.print(self._linked(shown, self._out), soft_wrap=True)

    def _lines(self, text: str, indent: str) -> list[str]:
        """The lines of a text; on a terminal they are broken between words, never inside a URL."""
        if not self._out.file.isatty():
            return [text]
        return textwrap.wrap(
            text,
            _text_width(self._out),
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )

    @contextlib.contextmanager
    def progress(self) -> Iterator["Progress"]:
        """A live list of steps on a terminal; plain started/done lines elsewhere."""
        from rich.live import Live

        live = None
        if self.verbosity >= 0 and self._err.is_interactive and self._err.file.isatty():
            live = Live(console=self._err, refresh_per_second=12.5, transient=True)
        progress = Progress(self, live)
        with live or contextlib.nullcontext():
            yield progress

    @contextlib.contextmanager
    def screen(self) -> Iterator[Screen]:
        """The whole terminal, redrawn in place; without a terminal, results are printed one after another."""
        if self._out.is_dumb_terminal or not self._out.file.isatty():
            yield Screen(self._out, self.render, redraws=False)
            return
        with self._out.screen():
            yield Screen(self._out, self.render, redraws=True)

    def _print_table(self, table: Table) -> None:
        """Print a table; in a pipe, each row is one line."""
        width = self._out.width if self._out.file.isatty() else _WIDE
        self._out.print(laid_out(table, width, self._cell), soft_wrap=True)

    def _cell(self, text: str) -> Text:
        return self._linked(Text(self.for_person(text)), self._out)

    def _linked(self, text: Text, stream: RichConsole) -> Text:
        """The text with hyperlinks, if the stream is a terminal that takes them."""
        return link(text) if self._hyperlinks and stream.file.isatty() else text

    def for_person(self, text: str) -> str:
        """The text without hidden values, and its commands as they have to be typed here."""
        return runnable(self.masked(text))

    def masked(self, text: str) -> str:
        """The text with every hidden value as `***`."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _text_width(stream: RichConsole) -> int:
    """The column at which text is wrapped: a dumb terminal, which a program may read, has no limit."""
    return stream.width if stream.is_dumb_terminal else min(stream.width, WIDEST)


def _rich(file: TextIO) -> RichConsole:
    made = RichConsole(file=file, highlight=False, emoji=False)  # `:x:` in a text stays as it is
    if made.is_dumb_terminal:  # rich assumes 80 columns
        made.size = ConsoleDimensions(*shutil.get_terminal_size())
    return made


class Progress:
    """Running steps: each has a spinner below the log, and becomes a permanent line when it ends."""

    def __init__(self, console: Console, live: "Live | None") -> None:
        self._console = console
        self._live = live
        self._running: list[Step] = []

    @property
    def verbosity(self) -> int:
        return self._console.verbosity

    def say(self, text: str) -> None:
        """Print a line above the running steps; long lines are not wrapped, so they can be copied."""
        self._console.say(text)

    def tell(self, text: str) -> None:
        """Print a line above the running steps, also with `--quiet`."""
        self._console.tell(text)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the spinners inside the block, because a person is typing."""
        if self._live:
            self._live.stop()
        try:
            yield
        finally:
            if self._live:
                self._live.start(refresh=True)

    @contextlib.contextmanager
    def step(self, label: str, *, bound: float | None = None) -> Iterator[Step]:
        """Show `label` as running until the block ends, then as done, failed or stopped, with its time.

        While it runs, a wait also shows its `bound` in seconds, and how to stop it.
        """
        step = Step(label, bound)
        self._running.append(step)
        self._refresh()
        if not self._live:
            self._console.say(f"… {label}")
        state = "stopped"
        try:
            yield step
            state = "done"
        except Exception:
            state = "failed"
            raise
        finally:
            self._finish(step, state)

    def _finish(self, step: Step, state: str) -> None:
        self._running.remove(step)
        mark, style = _MARKS[state]
        line = self._line(step, Text(f"{mark} ", style=style), f" ({step.seconds:.1f} s)")
        if self._console.verbosity >= 0:
            self._console.print(line if self._live else line.append(f" {state}"))
        self._refresh()

    def _line(self, step: Step, line: Text, end: str) -> Text:
        """Append a step's label, detail and end; on a terminal they are cut to fit one line."""
        label = Text(self._console.for_person(step.label), style="not bold default")
        detail = Text(f" · {self._console.for_person(step.detail)}" if step.detail else "")
        detail.style = "not bold dim default"
        if self._live:
            encoding = self._live.console.encoding
            label.plain, detail.plain = printed(label.plain, encoding), printed(detail.plain, encoding)
            # Room for the sign of a cut, which some encodings print as three dots.
            free = self._live.console.width - line.cell_len - len(end) - len(printed("…", encoding)) + 1
            label.truncate(max(free, 0), overflow="ellipsis")
            free -= label.cell_len
            detail.truncate(max(free, 1), overflow="ellipsis")
            detail = detail if free > 0 else Text()
        return line.append_text(label).append_text(detail).append(end, style="not bold dim default")

    def _refresh(self) -> None:
        if self._live:
            rows: list[RenderableType] = [
                Running(functools.partial(self._running_line, step), self._live.console.encoding)
                for step in self._running
            ]
            self._live.update(Group(*rows), refresh=True)

    def _running_line(self, step: Step) -> Text:
        limit = f", {step.limit}" if step.limit else ""
        # The spinner and the space after it take the two columns of the mark that will replace it.
        return self._line(step, Text("  "), f" ({step.seconds:.0f} s{limit})")[2:]
