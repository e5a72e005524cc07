"""`workshop teardown`: stop everything and remove the state."""

from workshop.cli.options import Json
from workshop.cli.terminal import finish, running
from workshop.core.result import Result


def teardown(*, json: Json = False) -> None:
    """Stop everything `up` started and remove its state; fine with nothing to do."""
    from workshop.course import environment

    with running() as (progress, runner):
        stopped = environment.teardown(progress, runner)
    line = f"Stopped {', '.join(stopped)}" if stopped else "Nothing was running"
    finish(Result("teardown", {"stopped": list(stopped)}, line), as_json=json)
