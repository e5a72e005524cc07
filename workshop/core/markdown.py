"""Markdown on a terminal: lessons, tasks and help topics."""

from typing import ClassVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Markdown, MarkdownElement
from rich.text import Text


class _WholeLines(CodeBlock):
    """A code block whose lines are not wrapped or indented, so that they can be copied."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        style = "cyan" if self.lexer_name == "sh" else ""
        yield Text(str(self.text).rstrip(), style=style, no_wrap=True, overflow="ignore")


class _Lesson(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "fence": _WholeLines,
        "code_block": _WholeLines,
    }


def rendered(markdown: str, *, hyperlinks: bool) -> Markdown:
    """The Markdown as rich prints it; without `hyperlinks`, the address of a link follows its text."""
    return _Lesson(markdown, hyperlinks=hyperlinks)
