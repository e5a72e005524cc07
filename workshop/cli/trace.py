"""`workshop trace …`: explain a recorded run in the terminal, or convert it."""

from pathlib import Path
from typing import Annotated

import typer

from workshop.cli.groups import EXAMPLES, Commands
from workshop.core.result import Result
from workshop.core.text import unbroken

File = Annotated[Path, typer.Argument(metavar="FILE.json", help="A trace that `part 4 run --trace` wrote.")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="The file to write: .html, .har or .json.")]


def build_group() -> Commands:
    """The `trace` group."""
    group = Commands("Read what the flight recorder wrote.", EXAMPLES["trace"])
    group.command("explain")(explain)
    group.command("render")(render)
    return group


def explain(file: File) -> Result:
    """Explain a recorded run request by request, with the specification of each."""
    from workshop.recorder.files import explain as explained
    from workshop.recorder.files import headline, read

    trace = read(file)
    lines = [unbroken(line) for line in explained(trace)]
    following = f"`workshop trace render {file} {file.stem}.html`"
    return Result("trace explain", trace, unbroken(headline(trace)), lines, next=following)


def render(file: File, out: Out) -> Result:
    """Convert a recorded run to an HTML page or a HAR (HTTP Archive) file."""
    from workshop.recorder.files import check_targets, read, write

    check_targets([out])
    write(read(file), out)
    data = {"trace": str(file), "written": str(out)}
    return Result("trace render", data, f"Written: {out}")
