"""Run a variation's programs, and the script that prepares them."""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from workshop.core.console import Console, Progress, plain
from workshop.core.errors import DeadlineError, WorkshopError
from workshop.core.instance import Instance
from workshop.core.paths import write_private
from workshop.course.lessons import Variation
from workshop.lab.variation import Edition, VariationPrograms

if TYPE_CHECKING:
    from workshop.agent.run import Place

_PEOPLE = ("learner", "mentor")
_PREPARE_SECONDS = 60
_SCOPES = ("repo", "read:org", "read:user", "user:email")
PROXY = "github-remote"
"""What part 4's agent calls the server it talks to; behind the name is now another."""


@dataclass(frozen=True)
class Running:
    """A variation that runs: where, and with which secrets."""

    variation: Variation
    room: VariationPrograms
    endpoints: Mapping[str, str]
    started: Sequence[str] = ()

    @property
    def url(self) -> str:
        """The MCP server that the agent talks to."""
        return self.endpoints[self.variation.name]

    @property
    def directory(self) -> Path:
        """A folder for each program: `config.json`, `log.txt`, and what it keeps."""
        return self.room.directory

    def secret(self, name: str) -> bytes:
        return self.room.secret(name).read_bytes()

    def headers(self, user: str | None = None) -> dict[str, str]:
        """The headers that the agent adds, as this practice user."""
        named = self.variation.contents.headers.items()
        person = user if user in _PEOPLE else _PEOPLE[0]  # the login rejects an unknown user
        return {name: self.secret(secret.replace("{user}", person)).decode() for name, secret in named}

    def place(self, user: str | None = None) -> "Place":
        """Where the part's agent finds this variation."""
        from workshop.agent.run import Place  # brings the MCP SDK, which `status` and `teardown` never need

        return Place({**self.endpoints, PROXY: self.url}, self.headers(user))


def room_of(variation: Variation, directory: Path | None = None) -> VariationPrograms:
    """The room of a variation: below the instance, or in a directory of its own."""
    return VariationPrograms((directory or _rooms()) / variation.name, _mint)


@contextmanager
def variation_running(
    variation: Variation, directory: Path, *, edition: str = "mended", exercises: Path | None = None
) -> Iterator[Running]:
    """A variation in a room of its own, on free ports, that is gone when the block ends."""
    with Console(io.StringIO(), io.StringIO()).progress() as quiet:
        try:
            yield start(
                variation, quiet, weak=edition == "weak", exercises=exercises, directory=directory, free=True
            )
        finally:
            room_of(variation, directory).stop(quiet)


def start(
    variation: Variation,
    progress: Progress,
    *,
    weak: bool = False,
    exercises: Path | None = None,
    directory: Path | None = None,
    free: bool = False,
    prepared: bool = True,
) -> Running:
    """Make sure a variation's programs run, and are prepared; what runs already stays as it is."""
    room = room_of(variation, directory)
    edition = Edition("weak" if weak else "mended", str(exercises or ""))
    programs = [replace(program, port=0 if free else program.port) for program in variation.programs]
    applied = room.start(programs, edition, variation.contents.timeouts.ready, progress)
    running = Running(variation, room, applied.endpoints, applied.started)
    if prepared and variation.contents.prepare.run:
        prepare(running, progress, edition)
    return running


def prepare(running: Running, progress: Progress, edition: Edition, *words: str) -> Sequence[str]:
    """Run the script that sets a variation up, or with `--cleanup` takes that back; the lines it wrote.

    Raises WorkshopError with the script's own words when it fails.
    """
    script = running.variation.contents.prepare
    path = running.directory / "prepare" / "config.json"
    config = running.room.expand(script.config, edition)
    write_private(path, json.dumps(config, indent=2).encode())
    argv = [sys.executable, str(running.variation.directory / script.run), "--config", str(path), *words]
    label = f"Run {script.run} {' '.join(words)}".rstrip()
    with progress.step(label) as step:
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=_PREPARE_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise DeadlineError(f"`{script.run}` did not end within {_PREPARE_SECONDS} s") from error
        if done.returncode:
            raise _told(done.stderr, script.run)
        lines = [plain(line) for line in done.stdout.splitlines()]
        step.note(f"{len(lines)} steps")
    return lines


def _told(stderr: str, script: str) -> WorkshopError:
    """A script's own error, as its last lines on stderr have it."""
    lines = [plain(line.strip()) for line in stderr.splitlines() if line.strip()]
    first = next((number for number, line in enumerate(lines) if line.startswith("Error: ")), None)
    if first is None:
        return WorkshopError(f"`{script}` failed", why=lines[-1] if lines else "It said nothing")
    what, *more = lines[first:]
    hint = next((line.removeprefix("Hint: ") for line in more if line.startswith("Hint: ")), "")
    why = " ".join(line for line in more if not line.startswith("Hint: "))
    return WorkshopError(what.removeprefix("Error: "), why=why, hint=hint)


def construct(variation: Variation, progress: Progress, *, cleanup: bool) -> Sequence[str]:
    """Run the script that sets a variation up, or takes that back, with its programs running."""
    with Instance.locate().lock():
        if cleanup and not room_of(variation).directory.exists():
            return ()
        running = start(variation, progress, prepared=False)
        return prepare(running, progress, Edition(), *(["--cleanup"] if cleanup else []))


def stop_all(progress: Progress) -> Sequence[str]:
    """Stop the programs of every variation, remove what they kept, and the agent's logins there.

    Returns the names of those stopped.
    """
    stopped: list[str] = []
    for room in rooms():
        _forget_logins(room.endpoints().values())
        stopped += room.stop(progress)
    shutil.rmtree(_rooms(), ignore_errors=True)
    return stopped


def _forget_logins(urls: Collection[str]) -> None:
    if urls:
        from workshop.agent.token_store import TokenStore  # same: its files are models of the SDK

        logins = TokenStore(Instance.locate().directory / "logins")
        for url in urls:
            logins.forget(url)


def rooms() -> Sequence[VariationPrograms]:
    """The room of each variation that was started."""
    return [VariationPrograms(path, _mint) for path in sorted(_rooms().glob("*")) if path.is_dir()]


def _rooms() -> Path:
    return Instance.locate().directory / "variations"


def _mint(client_secret: str, user: str) -> str:
    from workshop.servers.practice.client import access_token

    return access_token(client_secret, user, _SCOPES)
