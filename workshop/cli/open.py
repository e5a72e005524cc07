"""`workshop open`: the companion page beside the terminal."""

from typing import TYPE_CHECKING, Annotated

import typer

from workshop.cli.next import find_next
from workshop.cli.options import NoBrowser
from workshop.cli.terminal import console
from workshop.core.errors import UsageError
from workshop.core.text import one_line
from workshop.course.lessons import Lesson, find_lessons

if TYPE_CHECKING:
    from workshop.course.page.server import PageServer

Part = Annotated[
    str | None,
    typer.Argument(
        metavar="[PART]", help="The part to show. Default: the one you are in.", show_default=False
    ),
]
Present = Annotated[
    bool, typer.Option("--present", help="For a projector: large type, one request at a time (arrow keys).")
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port", min=1024, max=65535, help="Serve on this port. Default: a free one.", show_default=False
    ),
]


def open_page(
    part: Part = None, *, no_browser: NoBrowser = False, present: Present = False, port: Port = None
) -> None:
    """Show the lesson, your progress and the handshake, as it happens, in a browser."""
    from workshop.core.ports import free_port
    from workshop.course.page.app import CompanionPage

    page = CompanionPage(_lesson(part), port or free_port(), present=present)
    serve(page, "It is served until Ctrl-C. Run the parts in another terminal.", opens=not no_browser)


def serve(page: "PageServer", note: str, *, opens: bool) -> None:
    """Show the address of a page, and serve it until Ctrl-C."""
    from workshop.agent.approval import OpenBrowser
    from workshop.core.interrupts import interrupts

    async def ready() -> None:
        # The port is bound by now, so a browser that opens at once gets its answer.
        console().out(page.url)
        console().say(note)
        if opens:
            await OpenBrowser().start(page.url)

    interrupts.run(page.serve(ready))


def _lesson(part: str | None) -> Lesson:
    """The part that was named, or the one that comes next; raises UsageError if it does not exist."""
    lessons = find_lessons()
    wanted = part if part is not None else str(find_next().part or lessons[-1].number)
    for lesson in lessons:
        if str(lesson.number) == wanted:
            return lesson
    known = ", ".join(str(lesson.number) for lesson in lessons)
    raise UsageError(
        f"There is no part `{one_line(wanted)}`", hint=f"There are {known}: `workshop part list`"
    )
