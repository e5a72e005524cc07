"""Every setting with its source, and the report for a person who helps; neither shows a secret."""

import json
import os
import platform
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from workshop import __version__
from workshop.core.crash import crash_logs
from workshop.core.errors import WorkshopError, reason
from workshop.core.instance import Instance, instance_name
from workshop.core.invocation import INSTANCE
from workshop.core.paths import checkout_dir, parts_dir, state_home, write_private
from workshop.core.redaction import known_secrets, redacted
from workshop.core.settings import SECRET_KEYS, Settings, env_path, remembered_env_file
from workshop.course import environment
from workshop.lab import pins
from workshop.lab.pins import Pins

# The end of a log is where the failure is.
_LOG_BYTES = 100_000
_CRASHES = 5
_PINNED = "cluster/versions.toml"


@dataclass(frozen=True)
class Configured:
    """One setting; `value` of a secret is `***`."""

    name: str
    value: str
    source: str


def configuration(env_file: Path | None = None) -> Sequence[Configured]:
    """Every setting there is; raises UsageError when one cannot be read."""
    return [*_paths(env_file), *_settings(env_file), *_choices(), *_pins()]


def _paths(env_file: Path | None) -> list[Configured]:
    env = env_path(env_file)
    by_up = env_file is None and remembered_env_file() is not None
    chosen = (
        "--env-file" if env_file else "the last `workshop up`" if by_up else "found" if env else "not there"
    )
    home = "WORKSHOP_HOME" if os.environ.get("WORKSHOP_HOME") else "this system's default"
    origin = "the checkout" if checkout_dir() else "the installed package"
    return [
        Configured("env file", str(env or ""), chosen),
        Configured("state", str(state_home()), home),
        Configured("instance", instance_name(), INSTANCE if os.environ.get(INSTANCE) else "the default"),
        Configured("parts", str(parts_dir()), origin),
    ]


def _settings(env_file: Path | None) -> list[Configured]:
    return [
        Configured(key, "***" if setting and key in SECRET_KEYS else setting.value or "", setting.source)
        for key, setting in Settings.load(env_file).by_key().items()
    ]


def _choices() -> list[Configured]:
    record = Instance.load().record
    if record is None:
        return [Configured("backend", "", "nothing is up"), Configured("upstream", "", "nothing is up")]
    source = "the last `workshop up`"
    ports = ", ".join(f"{name}={port}" for name, port in record.ports.items())
    return [
        Configured("backend", record.backend, source),
        Configured("upstream", record.upstream, source),
        Configured("ports", ports, source if ports else "the manifests"),
    ]


def _pins() -> list[Configured]:
    loaded, elsewhere = Pins.load(), pins.origins()
    shown = []
    for name in pins.override_names():
        field = name.replace("-", "_")
        value = getattr(loaded, field)
        hidden = "***" if value in loaded.secrets() else str(value or "")
        shown.append(Configured(name, hidden, elsewhere.get(field, _PINNED if value else "not set")))
    return shown


def write_report(target: Path, findings: Iterable[Mapping[str, Any]], env_file: Path | None) -> list[str]:
    """Write the zip file; the names in it. Raises WorkshopError when the file cannot be written."""
    texts = {
        name: json.dumps(content, indent=2, default=str)
        for name, content in _documents(findings, env_file).items()
    } | _logs()
    hidden = known_secrets(env_file)
    # In memory first: a report that fails in the middle must not leave a file to send.
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, text in texts.items():
            bundle.writestr(name, redacted(text, hidden))
    try:
        write_private(target, stream.getvalue())
    except OSError as error:
        raise WorkshopError(f"Cannot write `{target}`", why=reason(error)) from error
    return list(texts)


def _documents(findings: Iterable[Mapping[str, Any]], env_file: Path | None) -> dict[str, object]:
    found: dict[str, object] = {
        "versions.json": {
            "workshop": __version__,
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        "doctor.json": list(findings),
    }
    for name, look in (
        ("config.json", lambda: [asdict(item) for item in configuration(env_file)]),
        ("status.json", lambda: asdict(environment.status())),
    ):
        try:
            found[name] = look()
        except WorkshopError as error:  # the error is what the helper needs to know
            found[name] = {"what": error.what, "why": error.why, "hint": error.hint}
    return found


def _logs() -> dict[str, str]:
    directory = Instance.locate().directory
    found = {f"crashes/{path.name}": path.read_text("utf-8", "replace") for path in crash_logs()[-_CRASHES:]}
    for path in sorted([*directory.glob("workloads/*/log.txt"), *directory.glob("variations/*/*/log.txt")]):
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - _LOG_BYTES))
            found[f"logs/{path.parent.name}.txt"] = log.read().decode("utf-8", "replace")
    return found
