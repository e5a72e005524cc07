"""`workshop teardown`: stop everything and remove the state."""

from workshop.cli.options import Json
from workshop.cli.terminal import console, finish
from workshop.result import Result


def teardown(*, json: Json = False) -> None:
    """Stop everything `up` started and remove its state; fine with nothing to do."""
    from workshop.lessons import environment

    with console().progress() as progress:
        stopped = environment.teardown(progress)
    line = f"Stopped {', '.join(stopped)}" if stopped else "Nothing was running"
    finish(Result("teardown", {"stopped": list(stopped)}, line), as_json=json)
