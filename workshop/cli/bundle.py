"""`workshop bundle`: everything a cluster needs in one file, for use without a network."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workshop.cli.groups import EXAMPLES, Commands
from workshop.cli.options import Json, Overrides, parse_overrides
from workshop.cli.terminal import finish, running
from workshop.core.result import Result

if TYPE_CHECKING:
    from workshop.lab.bundle.create import BundleReport

_File = Annotated[Path, typer.Argument(metavar="FILE", help="The bundle.", show_default=False)]
_HELP = "Create a file with everything a cluster needs, for `up --bundle FILE` without a network."


def build_group() -> Commands:
    """The commands under `workshop bundle`."""
    group = Commands(_HELP, EXAMPLES["bundle"])
    group.command("create")(create)
    group.command("verify")(verify)
    return group


def create(*, file: _File, override: Overrides = None, json: Json = False) -> None:
    """Download and build everything a cluster needs, and write it to FILE."""
    from workshop.lab.bundle.create import create_bundle

    with running() as (progress, runner):
        report = create_bundle(file, parse_overrides(override), progress, runner)
    _finish("bundle create", f"Wrote {report.file}", report, json=json)


def verify(*, file: _File, json: Json = False) -> None:
    """Check every digest in FILE, and that this machine and this version can use it."""
    from workshop.lab.bundle.create import verify_bundle

    with running() as (progress, runner):
        report = verify_bundle(file, progress, runner)
    _finish("bundle verify", f"{report.file} is complete, and fits this machine", report, json=json)


def _finish(command: str, headline: str, report: "BundleReport", *, json: bool) -> None:
    manifest = report.manifest
    versions = f"workshop {manifest.workshop}, ToolHive {manifest.toolhive}"
    lines = [
        f"{manifest.platform}, {versions}, {report.bytes / 2**20:.0f} MB",
        *(f"{image.reference:<52} {image.image_id[:19]}" for image in manifest.images.values()),
    ]
    finish(
        Result(command, report, headline, lines, next=f"`workshop up --bundle {report.file}`"), as_json=json
    )
