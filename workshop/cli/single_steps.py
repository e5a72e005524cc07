"""`workshop part N apply` and `forward`: single steps of `run` on a cluster, and what a person would type."""

from collections.abc import Sequence

import typer

from workshop.cli.options import EnvFile, Json
from workshop.cli.terminal import finish, running
from workshop.core.result import Result
from workshop.course.find import Lesson


def add_single_steps(group: typer.Typer, lesson: Lesson) -> None:
    """Give a lesson's group its single steps, if it deploys anything."""
    if not (lesson.directory / "toolhive").is_dir():
        return

    @group.command("apply")
    def apply(*, env_file: EnvFile = None, json: Json = False) -> None:
        """On a cluster: only apply the lesson's manifests."""
        from workshop.course import environment

        with running() as (progress, runner):
            applied = environment.submit(lesson, progress, env_file=env_file, runner=runner)
        done = [f"{name} applied" for name in applied.started] + [
            f"{name} unchanged" for name in applied.kept
        ]
        following = f"`workshop part {lesson.number} forward`"
        finish(_typed("part apply", done, applied.commands, following), as_json=json)

    @group.command("forward")
    def forward(*, env_file: EnvFile = None, json: Json = False) -> None:
        """On a cluster: only forward the lesson's workloads to this machine."""
        from workshop.course import environment

        with running() as (progress, runner):
            applied = environment.forward(lesson, progress, env_file=env_file, runner=runner)
        done = [f"{name:<16} {url}" for name, url in applied.endpoints.items()]
        following = f"`workshop part {lesson.number} run`"
        finish(_typed("part forward", done, applied.commands, following), as_json=json)


def _typed(command: str, done: Sequence[str], commands: Sequence[str], following: str) -> Result:
    lines = [*done, "", "By hand:", *commands]
    return Result(command, {"done": done, "commands": commands}, lines=lines, next=following)
