"""`workshop help`: topics, and the help of a command."""

import contextlib
import io
from pathlib import Path
from typing import Annotated, Any

import typer

from workshop.cli.options import Json
from workshop.cli.terminal import finish
from workshop.core.errors import UsageError
from workshop.core.result import Result, Table

_TOPICS = Path(__file__).parent / "topics"


def topics() -> dict[str, str]:
    """Every topic's name and its title."""
    found = sorted(_TOPICS.glob("*.md"))
    return {path.stem: _text(path.stem).splitlines()[0].removeprefix("# ") for path in found}


def _complete(incomplete: str) -> list[str]:
    return [name for name in topics() if name.startswith(incomplete)]


Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TOPIC | COMMAND…]",
        help="A topic of the list, or the words of a command.",
        show_default=False,
        autocompletion=_complete,
    ),
]


def show_help(ctx: typer.Context, words: Words = None, *, json: Json = False) -> None:
    """List the topics, or explain one; with a command's words, show its help."""
    if not words:
        titles = topics()
        table = Table(("topic", "title"), list(titles.items()))
        following = "`workshop help exit-codes`; `workshop --help` lists the commands"
        finish(Result("help", titles, table=table, next=following), as_json=json)
        return
    if words[0] in topics() and not words[1:]:
        text = _text(words[0])
        finish(Result("help", {"topic": words[0], "markdown": text}, markdown=text), as_json=json)
        return
    text = _command_help(ctx.find_root().command, words)
    finish(Result("help", {"command": " ".join(words), "text": text}, lines=text.splitlines()), as_json=json)


def _command_help(tree: Any, words: list[str]) -> str:  # noqa: ANN401 - Typer keeps its commands' types private
    command = tree
    for word in words:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            there = ", ".join(topics())
            raise UsageError(
                f"There is no topic and no command `{' '.join(words)}`", hint=f"The topics are {there}"
            )
    with contextlib.redirect_stdout(io.StringIO()) as written:
        tree([*words, "--help"], prog_name="workshop", standalone_mode=False)
    return written.getvalue().rstrip()


def _text(topic: str) -> str:
    return (_TOPICS / f"{topic}.md").read_text(encoding="utf-8")
