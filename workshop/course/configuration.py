"""Every setting with its value and where it came from; of a secret only that it is set."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workshop.core.instance import Instance
from workshop.core.paths import checkout_dir, parts_dir, state_home
from workshop.core.settings import SECRET_KEYS, Settings, env_path
from workshop.lab import pins
from workshop.lab.pins import Pins

_PINNED = "cluster/versions.toml"


@dataclass(frozen=True)
class Configured:
    """One setting; `value` of a secret is `***`."""

    name: str
    value: str
    source: str


def configuration(env_file: Path | None = None) -> Sequence[Configured]:
    """Every setting there is; raises UsageError where one cannot be read."""
    return [*_places(env_file), *_settings(env_file), *_choices(), *_pins()]


def _places(env_file: Path | None) -> list[Configured]:
    env = env_path(env_file)
    chosen = "--env-file" if env_file else "found" if env else "not there"
    home = "WORKSHOP_HOME" if os.environ.get("WORKSHOP_HOME") else "this system's default"
    origin = "the checkout" if checkout_dir() else "the installed package"
    return [
        Configured("env file", str(env or ""), chosen),
        Configured("state", str(state_home()), home),
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
    told = "the last `workshop up`"
    ports = ", ".join(f"{name}={port}" for name, port in record.ports.items())
    return [
        Configured("backend", record.backend, told),
        Configured("upstream", record.upstream, told),
        Configured("ports", ports, told if ports else "the manifests"),
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
