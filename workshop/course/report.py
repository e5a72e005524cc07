"""A bundle for somebody who helps: versions, findings, settings, state and logs, without any secret."""

import json
import platform
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

from workshop import __version__
from workshop.core.errors import WorkshopError
from workshop.core.instance import Instance
from workshop.core.paths import write_private
from workshop.course import environment
from workshop.course.configuration import configuration
from workshop.course.redaction import known_secrets, without_secrets

_LOG_BYTES = 100_000


def write_report(target: Path, findings: Iterable[Mapping[str, Any]], env_file: Path | None) -> list[str]:
    """Write the bundle and name what is in it; raises WorkshopError when the file cannot be written."""
    texts = {name: _json(content) for name, content in _documents(findings, env_file).items()} | _logs()
    hidden = known_secrets(env_file)
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, text in texts.items():
            bundle.writestr(name, redacted(text, hidden))
    try:
        write_private(target, stream.getvalue())
    except OSError as error:
        raise WorkshopError(f"Cannot write `{target}`", why=error.strerror or str(error)) from error
    return list(texts)


def redacted(text: str, hidden: Iterable[str]) -> str:
    """The text without these values, without anything shaped like a token, and without the person's name."""
    text = without_secrets(text, hidden).replace(str(Path.home()), "~")
    name = platform.node()
    return text if name in {"", "localhost"} else text.replace(name, "this-machine")


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
        except WorkshopError as error:  # what is broken is what the report is for
            found[name] = {"what": error.what, "why": error.why, "hint": error.hint}
    return found


def _logs() -> dict[str, str]:
    directory = Instance.locate().directory
    found = {}
    for path in sorted([*directory.glob("workloads/*/log.txt"), *directory.glob("variations/*/*/log.txt")]):
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - _LOG_BYTES))
            found[f"logs/{path.parent.name}.txt"] = log.read().decode("utf-8", "replace")
    return found


def _json(content: object) -> str:
    return json.dumps(content, indent=2, default=str)
