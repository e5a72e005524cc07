"""This computer: Python, packages, disk, ports, terminal and browser."""

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from workshop.core.instance import Instance
from workshop.core.paths import make_private_dir
from workshop.core.ports import is_free, owner
from workshop.course.doctor.finding import Finding, Machine, Severity

_PORTS = {8080: "github-remote", 8081: "workshop", 8090: "practice-github"}
_CALLBACK_PORT = 8765
_LOW_DISK = 1 * 2**30
_CLUSTER_DISK = 10 * 2**30
_NARROW = 80
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
        yield Finding("state-directory", "fail", f"Cannot make `{home}`: {error.strerror}", remedy)
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
    folder = machine.home if machine.home.exists() else Path.home()
    free = shutil.disk_usage(folder).free
    wanted = _CLUSTER_DISK if machine.cluster else _LOW_DISK
    found = f"{free / 2**30:.1f} GiB free"
    if free < wanted:
        remedy = f"Free some space: {wanted / 2**30:.0f} GiB; `docker system df` shows what images take"
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
