"""This computer: Python, disk, ports, terminal, browser, `.env`, and how it reaches the network."""

import importlib.metadata
import os
import platform
import re
import shutil
import socket
import ssl
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from workshop.core.errors import WorkshopError, reason
from workshop.core.instance import Instance
from workshop.core.outgoing import (
    LOCALHOST_REMEDY,
    LOOPBACK_REMEDY,
    PROXIES,
    judged_variables,
    localhost_problem,
    loopback_problem,
)
from workshop.core.paths import make_private_dir
from workshop.core.ports import is_free, owner
from workshop.core.settings import Settings, env_path
from workshop.course.doctor import Finding, Machine, Severity
from workshop.course.lessons import ways_to_register
from workshop.lab.pins import Pins

# The ports of the manifests, and of the practice GitHub.
_PORTS = {8080: "github-remote", 8081: "workshop", 8090: "practice-github"}
# The agent tries this port first, so that a forwarded port can be fixed.
_CALLBACK_PORT = 8765
_LOW_DISK = 1 * 2**30
_CLUSTER_DISK = 10 * 2**30
_NARROW = 80
# The limits that kind recommends (its page "Known issues", "Pod errors due to too many open files").
_INOTIFY = {"max_user_instances": 512, "max_user_watches": 524288}


def python(_: Machine) -> Iterator[Finding]:
    """The Python this runs on."""
    yield Finding("python", "ok", f"Python {platform.python_version()} on {platform.platform(terse=True)}")


def packages(_: Machine) -> Iterator[Finding]:
    """Whether the packages that pyproject.toml requires are installed."""
    wanted = importlib.metadata.requires("mcp-workshop") or []
    missing = [name for line in wanted if "extra ==" not in line and not _installed(name := _name(line))]
    if missing:
        remedy = "Run `uv sync` in the checkout, or install the toolkit again"
        yield Finding("packages", "fail", f"Not installed: {', '.join(missing)}", remedy)
        return
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("mcp", "httpx2", "typer"))
    yield Finding("packages", "ok", versions)


def state_directory(machine: Machine) -> Iterator[Finding]:
    """Whether the state directory can be written, and whether other users can read it."""
    home = machine.home
    try:
        make_private_dir(home)
    except OSError as error:
        remedy = "Set WORKSHOP_HOME to a folder that you can write"
        yield Finding("state-directory", "fail", f"Cannot make `{home}`: {reason(error)}", remedy)
        return
    if not home.is_dir() or not os.access(home, os.W_OK | os.X_OK):
        remedy = "Change its owner, or set WORKSHOP_HOME to another folder"
        yield Finding("state-directory", "fail", f"`{home}` cannot be written", remedy)
    elif os.name == "posix" and home.stat().st_mode & 0o077:
        yield Finding(
            "state-directory",
            "warn",
            f"Other users can read `{home}`",
            f"Run `chmod 700 {home}`",
            lambda: _chmod(home, 0o700),
        )
    else:
        yield Finding("state-directory", "ok", str(home))


def disk(machine: Machine) -> Iterator[Finding]:
    """Free space for our state and, for a cluster, its images."""
    # `disk_usage` needs a folder that exists.
    folder = machine.home if machine.home.exists() else Path.home()
    free = shutil.disk_usage(folder).free
    wanted = _CLUSTER_DISK if machine.cluster else _LOW_DISK
    found = f"{free / 2**30:.1f} GiB free"
    if free < wanted:
        images = "; `docker system df` shows what images take" if machine.cluster else ""
        remedy = f"Make it at least {wanted / 2**30:.0f} GiB{images}"
        yield Finding("disk", "warn", found, remedy)
    else:
        yield Finding("disk", "ok", found)


def ports(_: Machine) -> Iterator[Finding]:
    """Whether the ports in the OAuth URLs are free, by binding them."""
    instance = Instance.load()
    endpoints, usual = instance.endpoints, {} if instance.is_named else _PORTS  # a named one takes free ports
    used = {int(found[1]) for url in endpoints.values() if (found := re.search(r":(\d+)", url))}
    remedies = {port: f"End it, or run `workshop up --port {name}=PORT`" for port, name in usual.items()}
    for port in (*usual, _CALLBACK_PORT):
        remedy = remedies.get(port, "Nothing to do: the agent then listens on another port")
        if port in used:
            yield Finding(f"port-{port}", "ok", f"{port} is in use by a workload of this workshop")
        elif is_free(port):
            yield Finding(f"port-{port}", "ok", f"{port} is free")
        else:
            severity: Severity = "warn" if port in remedies else "info"
            yield Finding(f"port-{port}", severity, f"{port} is taken. {owner(port)}", remedy)


def terminal(_: Machine) -> Iterator[Finding]:
    """What the terminal can show."""
    real = (
        sys.__stderr__ or sys.stderr
    )  # while progress is shown, `sys.stderr` is a stand-in without encoding
    if not real.isatty():
        yield Finding("terminal", "info", "This is not a terminal: plain lines, no questions")
        return
    columns, encoding = shutil.get_terminal_size().columns, (real.encoding or "").lower()
    if columns < _NARROW:
        yield Finding("terminal", "warn", f"{columns} columns wide", f"{_NARROW} or more read better")
    elif "utf" not in encoding:
        yield Finding("terminal", "warn", f"The encoding is {encoding}", "Set LANG to a UTF-8 locale")
    else:
        yield Finding("terminal", "ok", f"{columns} columns, {encoding}")


def browser(_: Machine) -> Iterator[Finding]:
    """Whether the approval page can open here, and whether its callback comes back."""
    where = _remote(os.environ)
    remedy = (
        "`workshop part 4 run --no-browser` prints the address. The login comes back to port 8765 here, "
        "so forward that. With the practice GitHub, `--approve-as learner` needs no browser"
    )
    if where:
        yield Finding("browser", "warn", f"This runs {where}: its localhost is not your browser's", remedy)
    # In WSL, `wslview` opens the browser of Windows.
    elif shutil.which("wslview") is None and "microsoft" in platform.release().lower():
        yield Finding("browser", "warn", "This is WSL, and `wslview` is not installed", remedy)
    else:
        import webbrowser

        try:
            name = type(webbrowser.get()).__name__
        except webbrowser.Error:
            yield Finding("browser", "info", "No browser was found", remedy)
        else:
            yield Finding("browser", "ok", f"A browser can be opened ({name})")


def inotify(machine: Machine) -> Iterator[Finding]:
    """Linux's limits on watched files, which a kind node shares."""
    folder = Path("/proc/sys/fs/inotify")
    if not machine.cluster or not folder.is_dir():
        return
    for name, wanted in _INOTIFY.items():
        value = int((folder / name).read_text())
        if value < wanted:
            remedy = f"Run `sudo sysctl fs.inotify.{name}={wanted}`"
            yield Finding(f"inotify-{name}", "warn", f"fs.inotify.{name} is {value}", remedy)


def _remote(environment: Mapping[str, str]) -> str:
    if environment.get("CODESPACES"):
        return "in a Codespace"
    if environment.get("REMOTE_CONTAINERS") or Path("/.dockerenv").exists():
        return "in a container"
    return "over SSH" if environment.get("SSH_CONNECTION") else ""


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return found[0] if found else requirement


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _chmod(path: Path, mode: int) -> str:
    path.chmod(mode)
    return f"Only you can read `{path}` now"


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
        yield Finding("env-file", "fail", error.sentence, error.hint)
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
            "env-mode", "warn", f"Other users can read `{path}`", remedy, lambda: _chmod(path, 0o600)
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
    # First: git goes on committing a tracked file, even if it is ignored.
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


_CONNECT_SECONDS = 5.0
_HTTPS_PORT = 443


def localhost(_: Machine) -> Iterator[Finding]:
    """Whether `localhost`, which every URL of the lessons names, is this machine's loopback address."""
    if problem := loopback_problem():
        yield Finding("localhost", "fail", problem, LOOPBACK_REMEDY)
    elif problem := localhost_problem():
        yield Finding("localhost", "fail", problem, LOCALHOST_REMEDY)
    else:
        yield Finding("localhost", "ok", "`localhost` is this machine's loopback address")


def variables(_: Machine) -> Iterator[Finding]:
    """Whether each variable of proxies and TLS that is set can be used; only loopback works without it."""
    for variable in judged_variables():
        found = f"{variable.name}: {variable.problem or 'its value can be used'}"
        severity: Severity = "warn" if variable.problem else "ok"
        yield Finding(
            variable.name.lower().replace("_", "-"),
            severity,
            found,
            variable.remedy if variable.problem else "",
        )


def proxy(machine: Machine) -> Iterator[Finding]:
    """Proxy variables, and whether localhost bypasses the proxy."""
    set_here = [name for name in PROXIES if os.environ.get(name, os.environ.get(name.lower()))]
    if not set_here:
        return
    direct = (os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or "").split(",")
    if "localhost" not in [name.strip() for name in direct]:
        remedy = 'Run `export NO_PROXY="$NO_PROXY,localhost,127.0.0.1"`'
        yield Finding("proxy", "warn", f"{set_here[0]} is set, and NO_PROXY does not name localhost", remedy)
    else:
        yield Finding("proxy", "ok", f"{set_here[0]} is set, localhost bypasses it")
    if machine.cluster and Pins.load().proxy is None:
        remedy = "Configure the cluster too: `--override proxy=URL`, and `ca-file=FILE` if it intercepts TLS"
        yield Finding("proxy-cluster", "info", "Only kind passes the proxy on to the cluster's node", remedy)


def registry(machine: Machine) -> Iterator[Finding]:
    """Whether the registry of our images answers, and whether this machine trusts its certificate."""
    if not machine.online:
        return
    pins = Pins.load()
    host, port = _address(pins.registry_mirror or pins.operator.split("/", 1)[0])
    try:
        issuer = _issuer(host, port)
    except ssl.SSLCertVerificationError as error:
        remedy = "Something intercepts TLS: `--override ca-file=FILE` gives the cluster its certificate"
        yield Finding("registry-tls", "fail", f"{host}: {error.verify_message}", remedy)
    except OSError as error:
        remedy = "Bring `workshop bundle create FILE` along, or use `workshop up --backend embedded`"
        found = f"{host}:{port} does not answer: {reason(error)}"
        yield Finding("registry", machine.unless_wanted, found, remedy)
    else:
        yield Finding("registry", "ok", f"{host} answers; its certificate is from {issuer}")


def client_documents(_: Machine) -> Iterator[Finding]:
    """While proxies are up: whether their clients may name a document to fetch, or must register."""
    for sentence in ways_to_register() if Instance.load().record else ():
        yield Finding("client-documents", "info", f"{sentence}; `cimd` in the manifest decides")


def _address(text: str) -> tuple[str, int]:
    parts = urlsplit(text if "//" in text else f"//{text}")
    return parts.hostname or text, parts.port or _HTTPS_PORT


def _issuer(host: str, port: int) -> str:
    context = ssl.create_default_context()
    with (
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        certificate: dict[str, Any] = dict(secured.getpeercert() or {})
    fields = dict(pair for part in certificate.get("issuer", ()) for pair in part)
    return str(fields.get("organizationName") or fields.get("commonName") or "an unnamed issuer")
