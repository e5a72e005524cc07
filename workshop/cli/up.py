"""`workshop up`: start everything the parts need."""

from workshop.cli.options import EnvFile, Json, Ports, UpstreamChoice, parse_ports
from workshop.cli.terminal import console, finish
from workshop.result import Result


def up(
    *, upstream: UpstreamChoice = None, port: Ports = None, env_file: EnvFile = None, json: Json = False
) -> None:
    """Start everything the parts need; what already runs is left alone."""
    from workshop.lessons import environment
    from workshop.lessons.find import find_lessons

    with console().progress() as progress:
        report = environment.up(
            find_lessons(), progress, upstream=upstream, ports=parse_ports(port), env_file=env_file
        )
    lines = [f"{name:<16} {url}" for name, url in report.endpoints.items()]
    if report.kept:
        lines.append(f"Already running: {', '.join(report.kept)}")
    finish(Result("up", report, report.reason, lines, next="`workshop part 1 show`"), as_json=json)
