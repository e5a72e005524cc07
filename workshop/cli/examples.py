"""Examples, shown first in a command's help; the tests parse each of them."""

from typing import Any

EXAMPLES: dict[str, tuple[str, ...]] = {
    "up": (
        "workshop up                                  what is best here, as it says",
        "workshop up --backend kind                   a cluster in Docker",
        "workshop up --upstream practice              never the real GitHub",
        "workshop up --port github-remote=8088        where 8080 is taken",
        "workshop up --dry-run                        only tell what would be done",
    ),
    "status": ("workshop status", "workshop status --json"),
    "logs": (
        "workshop logs                                the last lines of all",
        "workshop logs github-remote --follow         one, until Ctrl-C",
        "workshop logs --lines 200 workshop           more of another",
    ),
    "teardown": ("workshop teardown",),
    "next": ("workshop next",),
    "doctor": (
        "workshop doctor",
        "workshop doctor --cluster --online           ready for a cluster, too?",
        "workshop doctor --fix                        mend what can be mended",
    ),
    "connect": (
        "workshop connect claude-code                 what to run",
        "workshop connect vscode --write              put it into this project",
        "workshop connect cursor workshop             part 3 instead of part 4",
    ),
    "probe": (
        "workshop probe http://localhost:8080/mcp",
        "workshop probe https://mcp.example.com/mcp --follow --all",
    ),
    "login": ("workshop login list", "workshop login revoke --all"),
    "rehearse": ("workshop rehearse", "workshop rehearse --backend kind --keep"),
    "demo": (
        "workshop demo list",
        "workshop demo play tutorial                  space goes on at a pause",
        "workshop demo play part-4 --auto --speed 3",
        "workshop demo verify part-1",
    ),
    "bundle": (
        "workshop bundle create room.bundle           at home",
        "workshop up --bundle room.bundle             in the room",
    ),
    "trace": (
        "workshop part 4 run --trace run.html --trace run.json",
        "workshop trace explain run.json",
    ),
    "report": ("workshop report",),
    "help": ("workshop help exit-codes", "workshop help part 4 run"),
}
_PART = (
    "workshop part {0} show",
    "workshop part {0} run",
    "workshop part {0} check --hint",
    "workshop part {0} exercise 1",
)


def add_examples(root: Any) -> None:  # noqa: ANN401 - Typer keeps its commands' types private
    """Put the examples between a command's sentence and its options."""
    for name, lines in EXAMPLES.items():
        _add(root.commands[name], lines)
    for number, lesson in root.commands["part"].commands.items():
        if number.isdigit():
            _add(lesson, [line.format(number) for line in _PART])


def _add(command: Any, lines: Any) -> None:  # noqa: ANN401 - same
    command.short_help = command.help.splitlines()[0]
    command.help = "\n".join([command.help, "", "\b", *lines])
