"""Set something up at a server's control plane, step by step, or take that back, the last step first.

A step is written down before it is taken: whatever ends the program, and whenever, the state file names all
that may exist. Running it again is not an error, and neither is cleaning up what is only half built.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from workshop.core.crash import run_program
from workshop.core.encoding import parse_json
from workshop.core.errors import DeadlineError, UsageError, WorkshopError
from workshop.core.foreign import one_line
from workshop.core.http_client import open_local_client_sync
from workshop.core.paths import write_private
from workshop.core.serving import read_object
from workshop.core.state_file import read_json

Json = dict[str, Any]
_SECONDS = 10.0
_OK = 200
_PLACES = frozenset({"control", "control_file", "state", "output"})


@dataclass(frozen=True)
class Step:
    """One thing to set up, and what is told of it in the output, where `{id}` stands for the id it got."""

    kind: str
    name: str
    body: Json
    told: Mapping[str, str]


@dataclass(frozen=True)
class Construction:
    """The settings a script needs, and the steps they lead to, each after those that it needs."""

    settings: frozenset[str]
    steps: Callable[[Json], Sequence[Step]]
    hint: str
    """What to do when nothing answers."""

    def main(self, words: Sequence[str] | None = None) -> int:
        """Run with `--config FILE` and perhaps `--cleanup`; returns the exit code. Errors go to stderr."""
        parser = argparse.ArgumentParser(description="Set the gateway up, or take that back.")
        parser.add_argument("--config", type=Path, required=True, metavar="FILE")
        parser.add_argument("--cleanup", action="store_true", help="delete what was set up, the last first")
        arguments = parser.parse_args(words)

        return run_program(lambda: self._act(arguments.config, cleanup=arguments.cleanup))

    def _act(self, file: Path, *, cleanup: bool) -> None:
        config = self._read(file)
        try:
            with closing(_Control(config, self.hint)) as control:
                (_clean_up if cleanup else self._construct)(config, control)
        except OSError as error:
            why = f"{error.strerror}: {error.filename}"
            raise UsageError("A file of the configuration cannot be used", why=why) from error

    def _construct(self, config: Json, control: "_Control") -> None:
        """All steps, then the output; what is there already stays."""
        state = _State(Path(config["state"]))
        told: Json = {}
        for step in self.steps(config):
            state.begin((step.kind, step.name))
            answer = control.ask("PUT", step.kind, step.name, step.body)
            told |= {key: text.replace("{id}", answer["id"]) for key, text in step.told.items()}
            exists = answer["outcome"] == "exists"
            _say(f"{'·' if exists else '✓'} {step.kind} {step.name}{' already exists' if exists else ''}")
        write_private(Path(config["output"]), json.dumps(told, indent=2).encode())
        _say("✓ config.json")

    def _read(self, path: Path) -> Json:
        config = read_object(path)
        texts = {name for name, value in config.items() if isinstance(value, str)}
        if missing := (self.settings | _PLACES) - texts:
            raise UsageError(f"The configuration `{path}` has no `{min(missing)}`")
        return config


def _clean_up(config: Json, control: "_Control") -> None:
    """Whatever was begun, the last first; then the files."""
    state = _State(Path(config["state"]))
    if not state.begun:
        _say("· nothing was set up")
    for kind, name in reversed(tuple(state.begun)):
        gone = control.ask("DELETE", kind, name)["outcome"] == "absent"
        state.end((kind, name))
        _say(f"{'·' if gone else '✓'} {kind} {name} {'was not there' if gone else 'deleted'}")
    for file in ("output", "state"):
        Path(config[file]).unlink(missing_ok=True)


class _State:
    """What may exist, in the order it was begun; each change is on disk before the next thing happens."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError for a file that is not such a state."""
        self._path = path
        try:
            begun = read_json(path)["begun"] if path.exists() else []
            self.begun = [(str(kind), str(name)) for kind, name in begun]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UsageError(
                f"The state file `{path}` cannot be read", why=str(error), hint="Restore it, or remove it"
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
    """The control plane, as whoever can read the control secret's file."""

    def __init__(self, config: Json, hint: str) -> None:
        secret = Path(config["control_file"]).read_text("utf-8")
        self._url, self._hint = f"{config['control']}/control", hint
        self._http = open_local_client_sync(timeout=_SECONDS, headers={"Authorization": f"Bearer {secret}"})

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
        told: Json = found if isinstance(found, dict) else {}
        if answer.status_code != _OK:
            why = str(told.get("error", f"It answered {answer.status_code}"))
            raise WorkshopError(f"The gateway refused the {kind} {name}", why=one_line(why, 300))
        if not ({"id", "outcome"} if method == "PUT" else {"outcome"}) <= set(told):
            why = f"Its answer is not that of a gateway with a vault: {one_line(answer.text)}"
            raise WorkshopError(f"The gateway did not set up the {kind} {name}", why=why, hint=self._hint)
        return told

    def close(self) -> None:
        self._http.close()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
