"""Set the gateway up, step by step, or take that back: `python construct.py --config FILE [--cleanup]`.

A step is written down before it is taken: whatever ends this program, and whenever, the state file names all
that may exist. To run it again is no error, and neither is to clean up what is only half there.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from workshop.errors import DeadlineError, UsageError, WorkshopError
from workshop.paths import write_private

Json = dict[str, Any]
Say = Callable[[str], None]
IDENTITY, PROVIDER, GATEWAY, TARGET = "mcp-workload", "github-provider", "elicitation-gateway", "GitHubTarget"
DESCRIPTION = Path(__file__).with_name("github.openapi.json")
SECONDS = 10.0
OK = 200


@dataclass(frozen=True)
class Step:
    """One thing to set up, and under which names its id and its name stand in the gateway's `config.json`."""

    kind: str
    name: str
    body: Json
    told: tuple[str, str]


def steps(config: Json) -> tuple[Step, ...]:
    """In the order in which each needs the ones before."""
    callback = f"{config['url']}/oauth/callback"
    description = json.loads(DESCRIPTION.read_text("utf-8"))
    description["servers"] = [{"url": config["github"]}]
    app = {
        "client_id": config["client_id"],
        "client_secret_file": config["client_secret_file"],
        "authorization_endpoint": f"{config['github']}/login/oauth/authorize",
        "token_endpoint": f"{config['github']}/login/oauth/access_token",
        "callback_url": callback,
    }
    authorizer = {"issuer": config["issuer"], "audience": f"{config['url']}/mcp"}
    target = {
        "gateway": GATEWAY,
        "provider": PROVIDER,
        "identity": IDENTITY,
        "scopes": ["repo", "user"],
        "description": description,
    }
    return (
        Step(
            "workload-identity",
            IDENTITY,
            {"allowed_return_urls": [callback]},
            ("identity_arn", "identity_name"),
        ),
        Step("oauth2-provider", PROVIDER, app, ("provider_arn", "provider_name")),
        Step("gateway", GATEWAY, authorizer, ("gateway_id", "gateway_name")),
        Step("target", TARGET, target, ("target_id", "target_name")),
    )


class State:
    """What may exist, in the order it was begun; each change is on disk before the next thing happens."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError for a file that is no such state."""
        self._path = path
        try:
            self.begun = json.loads(path.read_text("utf-8"))["begun"] if path.exists() else []
            self.begun = [(str(kind), str(name)) for kind, name in self.begun]
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


class Control:
    """The gateway's control plane, as whoever can read the control secret's file."""

    def __init__(self, config: Json) -> None:
        secret = Path(config["control_file"]).read_text("utf-8")
        self._url = f"{config['control']}/control"
        self._http = httpx2.Client(
            trust_env=False, timeout=SECONDS, headers={"Authorization": f"Bearer {secret}"}
        )

    def ask(self, method: str, kind: str, name: str, body: Json | None = None) -> Json:
        """Raises WorkshopError with what it answered."""
        try:
            answer = self._http.request(method, f"{self._url}/{kind}/{name}", json=body)
        except httpx2.TransportError as error:
            hint = "`workshop part 4 run --variation elicitation` starts it"
            raise DeadlineError("The gateway does not answer", why=str(error), hint=hint) from error
        told: Json = answer.json() if answer.headers.get("content-type") == "application/json" else {}
        if answer.status_code != OK:
            why = str(told.get("error", f"It answered {answer.status_code}"))
            raise WorkshopError(f"The gateway refused the {kind} {name}", why=why)
        return told

    def close(self) -> None:
        self._http.close()


def construct(config: Json, control: Control, say: Say) -> None:
    """All steps, then `config.json`, which tells the ids; what is there already stays."""
    state = State(Path(config["state"]))
    region = "local"
    told: Json = {"gateway_url": f"{config['url']}/mcp", "region": region}
    told["oauth_callback_url"] = f"{config['url']}/oauth/callback"
    for step in steps(config):
        state.begin((step.kind, step.name))
        answer = control.ask("PUT", step.kind, step.name, step.body)
        identifier, name = step.told
        arn = f"arn:workshop:{region}:{step.kind}/{answer['id']}"
        told |= {identifier: arn if identifier.endswith("_arn") else answer["id"], name: step.name}
        exists = answer["outcome"] == "exists"
        say(f"{'·' if exists else '✓'} {step.kind} {step.name}{' already exists' if exists else ''}")
    write_private(Path(config["output"]), json.dumps(told, indent=2).encode())
    say("✓ config.json")


def cleanup(config: Json, control: Control, say: Say) -> None:
    """Whatever was begun, the last first; then the files."""
    state = State(Path(config["state"]))
    if not state.begun:
        say("· nothing was set up")
    for kind, name in reversed(tuple(state.begun)):
        gone = control.ask("DELETE", kind, name)["outcome"] == "absent"
        state.end((kind, name))
        say(f"{'·' if gone else '✓'} {kind} {name} {'was not there' if gone else 'deleted'}")
    for file in ("output", "state"):
        Path(config[file]).unlink(missing_ok=True)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Set the gateway up, or take that back.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument("--cleanup", action="store_true", help="delete what was set up, the last first")
    arguments = parser.parse_args(words)

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    try:
        config = read(arguments.config)
        with closing(Control(config)) as control:
            (cleanup if arguments.cleanup else construct)(config, control, say)
    except OSError as error:
        sys.stderr.write(f"Error: A file cannot be used\n{error.strerror}: {error.filename}\n")
        return UsageError.exit_code
    except WorkshopError as error:
        hint = error.hint and f"Hint: {error.hint}"
        sys.stderr.write("".join(f"{line}\n" for line in (f"Error: {error.what}", error.why, hint) if line))
        return error.exit_code
    return 0


def read(path: Path) -> Json:
    """The configuration; raises UsageError."""
    wanted = {"url", "control", "github", "issuer", "client_id", "client_secret_file"}
    wanted |= {"control_file", "state", "output"}
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"The configuration `{path}` cannot be read", why=str(error)) from error
    texts = (
        {name for name, value in config.items() if isinstance(value, str)}
        if isinstance(config, dict)
        else set()
    )
    if missing := wanted - texts:
        raise UsageError(f"The configuration `{path}` has no `{min(missing)}`")
    settings: Json = config
    return settings


if __name__ == "__main__":
    sys.exit(main())
