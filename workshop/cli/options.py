"""Options that several commands share, and shell completion of names that depend on the environment."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from workshop.core.errors import UsageError, WorkshopError
from workshop.core.invocation import BACKEND_VARIABLE, PORT_VARIABLE, given_as

if TYPE_CHECKING:
    from workshop.course.lessons import Lesson

_CLUSTER = "For a cluster"

Backend = Annotated[
    Literal["kind", "kubernetes", "embedded"] | None,
    typer.Option(
        "--backend",
        envvar=BACKEND_VARIABLE,
        help="Where the workloads run. Default: kind if Docker and its tools are ready, else embedded.",
        show_default=False,
    ),
]
EnvFile = Annotated[
    Path | None,
    typer.Option("--env-file", help="Read settings from this file instead of `.env`.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Ports = Annotated[
    list[str] | None,
    typer.Option(
        "--port",
        metavar="NAME=PORT",
        envvar=PORT_VARIABLE,
        help="Give a workload another port, such as github-remote=8088.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask first.")]
NoBrowser = Annotated[
    bool, typer.Option("--no-browser", help="Print the address instead of opening a browser.")
]
ApproveAs = Annotated[
    str | None,
    typer.Option(
        "--approve-as",
        metavar="USER",
        help="Log in as this practice user: learner, mentor, or your seat's.",
        show_default=False,
    ),
]
Keep = Annotated[bool, typer.Option("--keep", help="Do not clean up after a failed first run.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be run and written, and change nothing.")
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout", metavar="SECONDS", min=1, help="Maximum seconds for each wait.", show_default=False
    ),
]
Bundle = Annotated[
    Path | None,
    typer.Option(
        "--bundle",
        metavar="FILE",
        help="Take images and charts from this file; needs no network.",
        show_default=False,
        rich_help_panel=_CLUSTER,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--override",
        metavar="NAME=VALUE",
        help="Use another image or chart, such as node-image=…; WORKSHOP_… variables do the same.",
        rich_help_panel=_CLUSTER,
    ),
]
ClusterName = Annotated[
    str | None,
    typer.Option(
        "--cluster-name", help="The kind cluster's name.", show_default=False, rich_help_panel=_CLUSTER
    ),
]
Context = Annotated[
    str | None,
    typer.Option(
        "--context",
        help="With `--backend kubernetes`: the context of your kubeconfig.",
        show_default=False,
        rich_help_panel=_CLUSTER,
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        help="With `--backend kubernetes`: the namespace of the workloads.",
        show_default=False,
        rich_help_panel=_CLUSTER,
    ),
]
Until = Annotated[
    Literal["operator"] | None,
    typer.Option(
        "--until",
        help="On a cluster: stop when the operator runs, before the parts; see `part 4 by-hand`.",
        show_default=False,
        rich_help_panel=_CLUSTER,
    ),
]
InstallOperator = Annotated[
    bool,
    typer.Option(
        "--install-operator",
        help="With `--backend kubernetes`: install the operator over an existing one.",
        rich_help_panel=_CLUSTER,
    ),
]
Room = Annotated[str, typer.Argument(metavar="NAME", help="The room.", show_default=False)]
RoomContext = Annotated[
    str | None,
    typer.Option(
        "--context",
        help="The cluster, as a context of your kubeconfig. Default: where this machine created the room.",
        show_default=False,
    ),
]


def parse_ports(given: Sequence[str] | None) -> dict[str, int]:
    """`NAME=PORT` words as a mapping; raises UsageError for anything else."""
    ports = {}
    for word in given or ():
        name, _, port = word.partition("=")
        if not name or not port.isascii() or not port.isdigit():
            raise UsageError(
                f"`{given_as('--port', PORT_VARIABLE, word)}` is not NAME=PORT",
                hint="For example `workshop up --port github-remote=8088`",
            )
        ports[name] = int(port)
    return ports


def parse_overrides(given: Sequence[str] | None) -> dict[str, str]:
    """`NAME=VALUE` words as a mapping; raises UsageError for anything else."""
    overrides = {}
    for word in given or ():
        name, _, value = word.partition("=")
        if not name or not value:
            raise UsageError(
                f"`--override {name}` is not NAME=VALUE",
                hint="For example `workshop up --override node-image=REGISTRY/kindest/node:v1.35.8`",
            )
        overrides[name] = value
    return overrides


def complete_logs(incomplete: str) -> list[str]:
    """The workloads that have a log."""
    from workshop.course import environment

    return _matching(incomplete, lambda: (log.name for log in environment.logs()))


def complete_endpoints(incomplete: str) -> list[str]:
    """The workloads that another client can connect to."""
    from workshop.course import connect

    return _matching(incomplete, connect.names)


def complete_demos(incomplete: str) -> list[str]:
    """The demos that come with the package."""
    from workshop.course.demo.player import names

    return _matching(incomplete, names)


def complete_exercises(ctx: typer.Context, incomplete: str) -> list[str]:
    """The exercises of the part or variation that the command line names."""
    from workshop.course.exercise import exercises_of
    from workshop.course.lessons import variation_of

    def numbers() -> Iterable[str]:
        name = ctx.params.get("variation")
        for lesson in _lesson(ctx):
            yield from (
                str(one.number) for one in exercises_of(variation_of(lesson, name) if name else lesson)
            )

    return _matching(incomplete, numbers)


def complete_variations(ctx: typer.Context, incomplete: str) -> list[str]:
    """The variations of the part that the command line names."""
    from workshop.course.lessons import variations_of

    return _matching(
        incomplete, lambda: (found.name for lesson in _lesson(ctx) for found in variations_of(lesson))
    )


def _lesson(ctx: typer.Context) -> "list[Lesson]":
    """The part that the command line names; empty if it names none that exists."""
    from workshop.course.lessons import find_lessons

    # The group of a part is named by its number.
    part = ctx.parent.info_name if ctx.parent else ""
    return [lesson for lesson in find_lessons() if str(lesson.number) == part]


def complete_systems(ctx: typer.Context, incomplete: str) -> list[str]:
    """The systems that can be compared: the part itself and its variations."""
    # `compare` names part 4 itself after its system.
    itself = [name for name in ("toolhive",) if name.startswith(incomplete)]
    return [*itself, *complete_variations(ctx, incomplete)]


def complete_logins(incomplete: str) -> list[str]:
    """The MCP servers with a stored login."""
    from workshop.agent.token_store import TokenStore
    from workshop.core.instance import Instance

    return _matching(
        incomplete,
        lambda: {login.resource for login in TokenStore(Instance.locate().logins).all()},
    )


def _matching(incomplete: str, look: Callable[[], Iterable[Any]]) -> list[str]:
    try:
        return [name for name in sorted(look()) if name.startswith(incomplete)]
    except WorkshopError:  # nothing is up, or the state is damaged: a completion cannot report it
        return []
