"""`workshop config`: every setting, its value, and where it came from."""

from workshop.cli.options import EnvFile, Json
from workshop.cli.terminal import finish
from workshop.core.result import Result, Table


def config(*, env_file: EnvFile = None, json: Json = False) -> None:
    """Show every setting, its value and where it came from; secrets as `***`."""
    from workshop.course.configuration import configuration

    found = configuration(env_file)
    rows = [(item.name, item.value, item.source) for item in found]
    finish(Result("config", found, table=Table(("setting", "value", "from"), rows)), as_json=json)
