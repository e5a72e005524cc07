"""`workshop connect …` and `disconnect`: connect another MCP client to the workloads."""

import json as jsonlib
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workshop.cli.completion import complete_endpoints
from workshop.cli.options import Json
from workshop.cli.terminal import agreed, finish
from workshop.core.result import Result

if TYPE_CHECKING:
    from workshop.course.connect import Connection

ClientName = Annotated[Literal["claude-code", "vscode", "cursor", "inspector"], typer.Argument()]
Workload = Annotated[
    str,
    typer.Argument(
        help="The workload to connect to: github-remote or workshop.", autocompletion=complete_endpoints
    ),
]
Write = Annotated[bool, typer.Option("--write", help="Write the entry into the client's project file here.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask first.")]


def connect(
    client: ClientName,
    workload: Workload = "github-remote",
    *,
    write: Write = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Show how another MCP client connects, or write it into its project file."""
    from workshop.course import connect as connecting

    found = connecting.connection(client, workload)
    if not write:
        finish(_shown(found, connecting.WHY_LOCALHOST), as_json=json)
        return
    _ask(f"Write `{found.name}` into `{found.file or 'a project file'}` here?", yes=yes)
    done = connecting.write(found)
    told = f"`{found.name}` is in `{done.file}`" + ("" if done.changed else " already")
    lines = [f"What was there before is in `{done.backup}`"] if done.backup else []
    following = f"`workshop disconnect {client} {workload}` takes it out again"
    finish(Result("connect", {**_data(found), "written": done}, told, lines, next=following), as_json=json)


def disconnect(
    client: ClientName, workload: Workload = "github-remote", *, yes: Yes = False, json: Json = False
) -> None:
    """Remove the workshop from another client's configuration."""
    from workshop.course import connect as connecting

    found = connecting.former(client, workload)
    _ask(f"Take `{found.name}` out of `{found.file or 'a project file'}` here?", yes=yes)
    done = connecting.remove(found)
    told = f"`{found.name}` is {'out of' if done.changed else 'not in'} `{done.file}`"
    lines = [f"What was there before is in `{done.backup}`"] if done.backup else []
    following = f"`{found.removal}`, if you added it with the command" if found.removal else ""
    finish(Result("disconnect", done, told, lines, next=following), as_json=json)


def _shown(found: "Connection", why: str) -> Result:
    lines = []
    if found.command:
        lines += ["Run:", f"  {found.command}"]
    if found.file:
        entry = jsonlib.dumps({found.key: {found.name: found.entry}}, indent=2)
        lines += [f"{'Or' if found.command else 'Add'} to `{found.file}`:"]
        lines += [f"  {line}" for line in entry.splitlines()]
    lines.append(why)
    following = f"`workshop connect {found.client} --write` writes the entry here" if found.file else ""
    return Result("connect", _data(found), lines=lines, next=following)


def _data(found: "Connection") -> dict[str, object]:
    return {
        "client": found.client,
        "name": found.name,
        "url": found.url,
        "command": found.command,
        "file": found.file,
        "entry": {found.key: {found.name: found.entry}} if found.file else {},
    }


def _ask(question: str, *, yes: bool) -> None:
    if not agreed(question, yes=yes):
        raise typer.Exit
