"""Set up a server over its control interface, step by step, or undo that, the last step first.

Each step is recorded before it is carried out, so that the state file names everything that may exist,
whatever ends the program. It may run again, and it may clean up what is only half set up.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlsplit

import httpx2
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from workshop.auth import SecretText
from workshop.core.crash import run_program
from workshop.core.encoding import parse_json
from workshop.core.errors import DeadlineError, UsageError, WorkshopError, reason
from workshop.core.files import read_json, read_object, validated
from workshop.core.http_client import open_local_client_sync
from workshop.core.paths import write_private
from workshop.core.text import one_line
from workshop.servers.variation.service import DESCRIBED, FilePath

Json = dict[str, Any]
_SECONDS = 10.0
_OK = 200


def _fits_a_header(secret: str) -> str:
    if not (secret.isascii() and secret.isprintable()):
        raise ValueError("must be one line of printable ASCII")
    return secret


class SetUp(BaseModel):
    """The keys that every such script reads.

    `control` is where the server listens if that is not `url`, `control_file` the secret of that interface.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    url: str
    control: str = ""
    control_secret: Annotated[SecretText, AfterValidator(_fits_a_header), Field(alias="control_file")]
    state: FilePath = FilePath("construct-state.json")
    output: FilePath = FilePath("config.json")


Settings = TypeVar("Settings", bound=SetUp)


@dataclass(frozen=True)
class Step:
    """One thing to set up, and its lines in the output, where `{id}` stands for the id that it gets.

    `body` is what the server is sent. It is made when the step is carried out, and may raise WorkshopError.
    """

    kind: str
    name: str
    body: Callable[[], Json]
    output: Mapping[str, str | None]


@dataclass(frozen=True)
class Construction(Generic[Settings]):
    """The model of the configuration file, and its steps in the order of their dependencies.

    `ignored` are the file's keys that only the server reads. `hint` is what to do when nothing answers.
    """

    model: type[Settings]
    steps: Callable[[Settings], Sequence[Step]]
    ignored: frozenset[str]
    hint: str

    def main(self, words: Sequence[str] | None = None) -> int:
        """Run with `--config FILE`, and perhaps `--cleanup` or `--dry-run`; returns the exit code."""
        parser = argparse.ArgumentParser(description="Set the gateway up, or undo that.")
        parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="TOML, or JSON")
        parser.add_argument("--cleanup", action="store_true", help="delete what was set up, the last first")
        parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
        arguments = parser.parse_args(words)

        return run_program(lambda: self._act(arguments))

    def _act(self, arguments: argparse.Namespace) -> None:
        file: Path = arguments.config
        found = {key: value for key, value in read_object(file).items() if key not in self.ignored}
        settings = validated(self.model, found, file, DESCRIBED)
        steps = self.steps(settings)
        if arguments.dry_run:
            _rehearse(settings, () if arguments.cleanup else steps)
            return
        try:
            with closing(_Control(settings, self.hint)) as control:
                if arguments.cleanup:
                    _clean_up(settings, control)
                else:
                    _construct(settings, steps, control)
        except OSError as error:
            why = f"{reason(error)}: {error.filename}"
            raise UsageError("A file of the configuration cannot be used", why=why) from error


def _rehearse(settings: SetUp, steps: Sequence[Step]) -> None:
    """Show what would be done, from the two files alone; without steps, what the cleanup would do."""
    begun = _State(settings.state).begun
    for step in steps:
        again = " again, because it was begun before" if (step.kind, step.name) in begun else ""
        _say(f"· would set up {step.kind} {step.name}{again}")
    if steps:
        _say(f"· would write {settings.output.name}")
        return
    for kind, name in reversed(begun):
        _say(f"· would delete {kind} {name}")
    if not begun:
        _say("· nothing was set up")


def _construct(settings: SetUp, steps: Sequence[Step], control: "_Control") -> None:
    """Carry out all steps, then write the output; what exists already stays."""
    state = _State(settings.state)
    output: Json = {}
    for step in steps:
        body = step.body()
        state.begin((step.kind, step.name))
        answer = control.ask("PUT", step.kind, step.name, body)
        lines = {key: text and text.replace("{id}", answer["id"]) for key, text in step.output.items()}
        output |= {key: text for key, text in lines.items() if key not in output}
        exists = answer["outcome"] == "exists"
        _say(f"{'·' if exists else '✓'} {step.kind} {step.name}{' already exists' if exists else ''}")
    write_private(settings.output, json.dumps(output, indent=2).encode())
    _say("✓ config.json")


def _clean_up(settings: SetUp, control: "_Control") -> None:
    """Delete whatever was begun, the last first; then the files."""
    state = _State(settings.state)
    if not state.begun:
        _say("· nothing was set up")
    # A copy, because `end` removes from the list.
    for kind, name in reversed(tuple(state.begun)):
        gone = control.ask("DELETE", kind, name)["outcome"] == "absent"
        state.end((kind, name))
        _say(f"{'·' if gone else '✓'} {kind} {name} {'was not there' if gone else 'deleted'}")
    for file in (settings.output, settings.state):
        file.unlink(missing_ok=True)


class _State:
    """The steps that were begun, in order; each change is on disk before the next step."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError for a file that is not such a state."""
        self._path = path
        try:
            begun = read_json(path)["begun"] if path.exists() else []
            self.begun = [(str(kind), str(name)) for kind, name in begun]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UsageError(
                f"The state file `{path}` cannot be read", why=reason(error), hint="Restore it, or remove it"
            ) from error

    def begin(self, step: tuple[str, str]) -> None:
        if step not in self.begun:
            self.begun.append(step)
            self._write()

    def end(self, step: tuple[str, str]) -> None:
        self.begun.remove(step)
        self._write()

    def _write(self) -> None:
        write_private(self._path, json.dumps({"begun": self.begun}, indent=2).encode())


class _Control:
    """A client of the control interface, with its secret."""

    def __init__(self, settings: SetUp, hint: str) -> None:
        self._url, self._hint = f"{settings.control or settings.url}/control", hint
        headers = {"Authorization": f"Bearer {settings.control_secret}"}
        if host := settings.control and urlsplit(settings.url).netloc:
            headers["Host"] = host  # behind a proxy, the server answers under its public name only
        self._http = open_local_client_sync(timeout=_SECONDS, headers=headers)

    def ask(self, method: str, kind: str, name: str, body: Json | None = None) -> Json:
        """Raises WorkshopError with what it answered."""
        try:
            answer = self._http.request(method, f"{self._url}/{kind}/{name}", json=body)
        except httpx2.TransportError as error:
            raise DeadlineError("The gateway does not answer", why=str(error), hint=self._hint) from error
        try:
            found = parse_json(answer.content)
        except ValueError:
            found = None
        fields: Json = found if isinstance(found, dict) else {}
        if answer.status_code != _OK:
            why = str(fields.get("error", f"It answered {answer.status_code}"))
            raise WorkshopError(f"The gateway refused the {kind} {name}", why=one_line(why, 300))
        if not ({"id", "outcome"} if method == "PUT" else {"outcome"}) <= set(fields):
            why = f"Its answer is not that of a gateway with a vault: {one_line(answer.text)}"
            raise WorkshopError(f"The gateway did not set up the {kind} {name}", why=why, hint=self._hint)
        return fields

    def close(self) -> None:
        self._http.close()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    # Each step is shown at once, also when the output is a pipe.
    sys.stdout.flush()
