"""`.env`: whether it exists, is valid, private, and ignored by git. Its values are never shown."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from workshop.core.errors import WorkshopError
from workshop.core.settings import Settings, env_path
from workshop.course.doctor.finding import Finding, Machine

_GIT_SECONDS = 10.0


def env_file(machine: Machine) -> Iterator[Finding]:
    """Whether `.env` exists and can be read."""
    path = env_path(machine.env_file)
    if path is None:
        remedy = "For the real GitHub or a model: `cp .env.example .env`, and fill it in"
        yield Finding(
            "env-file", "info", "No `.env`: the practice GitHub and the rehearsal model are used", remedy
        )
        return
    try:
        Settings.load(path)
    except WorkshopError as error:
        yield Finding("env-file", "fail", f"{error.what}. {error.why}", error.hint)
    else:
        yield Finding("env-file", "ok", str(path))


def unknown_keys(machine: Machine) -> Iterator[Finding]:
    """Keys in `.env` that are unknown and look like one of the settings."""
    try:
        warnings = Settings.load(machine.env_file).warnings
    except WorkshopError:
        return  # `env_file` reports it
    for warning in warnings:
        found, _, suggestion = warning.partition(". ")
        yield Finding("env-keys", "warn", found, suggestion)


def readers(machine: Machine) -> Iterator[Finding]:
    """Whether other users can read the secrets in `.env`."""
    path = env_path(machine.env_file)
    try:
        secrets = Settings.load(path).secrets() if path else ()
    except WorkshopError:
        return  # `env_file` reports it, and so does every command that needs the file
    if path and secrets and os.name == "posix" and path.stat().st_mode & 0o077:
        remedy = f"Run `chmod 600 {path}`"
        yield Finding(
            "env-mode", "warn", f"Other users can read `{path}`", remedy, lambda: _make_private(path)
        )


def git_ignored(machine: Machine) -> Iterator[Finding]:
    """Whether git would commit `.env`."""
    path = env_path(machine.env_file)
    if path is None or shutil.which("git") is None:
        return
    where = ["git", "-C", str(path.absolute().parent)]
    inside = machine.runner.run([*where, "rev-parse", "--git-dir"], seconds=_GIT_SECONDS, check=False)
    if inside.code:
        return
    tracked = machine.runner.run(
        [*where, "ls-files", "--error-unmatch", path.name], seconds=_GIT_SECONDS, check=False
    )
    ignored = machine.runner.run(
        [*where, "check-ignore", "--quiet", path.name], seconds=_GIT_SECONDS, check=False
    )
    if tracked.code == 0:
        remedy = f"Run `git rm --cached {path.name}`, and make a new secret: the old one is in the history"
        yield Finding("env-git", "fail", f"git has `{path}` in its index", remedy)
    elif ignored.code:
        remedy = f"Run `echo {path.name} >> .gitignore`"
        yield Finding("env-git", "warn", f"git does not ignore `{path}`", remedy)
    else:
        yield Finding("env-git", "ok", "git ignores it")


def keys(machine: Machine) -> Iterator[Finding]:
    """Which settings are present, by name: GitHub's OAuth app, and the model."""
    try:
        settings = Settings.load(machine.env_file)
    except WorkshopError:
        return  # `env_file` has reported it
    app = (bool(settings.github_client_id), bool(settings.github_client_secret))
    if all(app):
        yield Finding("oauth-app", "ok", "GitHub's OAuth app is set")
    elif any(app):
        missing = "GITHUB_OAUTH_CLIENT_SECRET" if app[0] else "GITHUB_OAUTH_CLIENT_ID"
        remedy = "An OAuth app needs both; `--upstream practice` needs neither"
        yield Finding("oauth-app", "warn", f"{missing} is not set, but the other key is", remedy)
    else:
        yield Finding("oauth-app", "info", "No OAuth app: part 4 uses the practice GitHub")
    endpoint = bool(settings.openai_api_key or settings.openai_base_url)
    if endpoint and not settings.model:
        remedy = "`.env.example` has a ready line for each provider"
        yield Finding("model", "fail", "A model's endpoint is set, but not WORKSHOP_MODEL", remedy)
    elif endpoint:
        yield Finding("model", "ok", f"{settings.model.value}")
    else:
        yield Finding("model", "info", "No model: the rehearsal model answers, which is not a language model")


def _make_private(path: Path) -> str:
    path.chmod(0o600)
    return f"Only you can read `{path}` now"
