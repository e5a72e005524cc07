"""ToolHive's own programs, where somebody has them: named by a variable, or built by Go's own tool."""

import os
import shutil
import subprocess
from pathlib import Path

from workshop.lab.pins import pinned

VARIABLES = {"thv-proxyrunner": "WORKSHOP_THV_PROXYRUNNER", "vmcp": "WORKSHOP_VMCP"}
"""Each program, and the variable that holds the path to it."""
BUILD = "WORKSHOP_TOOLHIVE_BUILD"
"""Set to anything: build what no variable names."""
_SECONDS = 900


class MissingProgramError(Exception):
    """The program is not here; the message says how to get it."""


def find(name: str, kept: Path) -> Path:
    """The path to a program; what is built stays in `kept`.

    Raises MissingProgramError.
    """
    if given := os.environ.get(VARIABLES[name]):
        path = Path(given)
        if not os.access(path, os.X_OK):
            raise ValueError(f"{VARIABLES[name]} names {given}, which is no program")
        return path
    if os.environ.get(BUILD):
        return _build(name, kept)
    raise MissingProgramError(
        f"{name} is not here. Set {VARIABLES[name]} to its path, or {BUILD}=1 to run `{_command(name)}`"
    )


def _command(name: str) -> str:
    return f"go install github.com/stacklok/toolhive/cmd/{name}@v{pinned().toolhive_version}"


def _build(name: str, kept: Path) -> Path:
    folder = kept / pinned().toolhive_version
    if (folder / name).exists():
        return folder / name
    if shutil.which("go") is None:
        raise MissingProgramError(f"{BUILD} is set, but Go is not installed, and {name} is a Go program")
    done = subprocess.run(
        _command(name).split(),
        env={**os.environ, "GOBIN": str(folder)},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        raise MissingProgramError(f"`{_command(name)}` failed: {done.stderr.strip()[-300:]}")
    return folder / name
