"""The container engine behind `docker`: its kind, its address, and why it cannot be used."""

import platform as machine
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from workshop.core.errors import PreflightError
from workshop.core.outgoing import is_loopback_host
from workshop.lab.tools.run import Version, parsed, spelled

MINIMUM: Version = (20, 10, 0)
SAVE_PLATFORM_API: Version = (1, 48, 0)  # Docker 28
_LOW_MEMORY = 4 * 2**30
# `docker info` has the kernel's names, and images have Go's.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
_KINDS = (  # by the text of `docker info` and `docker version`
    ("Podman", r"podman engine"),
    ("Docker Desktop", r"docker.desktop|desktop-linux|/\.docker/(run|desktop)/"),
    ("OrbStack", r"orbstack"),
    ("Colima", r"colima"),
    ("Rancher Desktop", r"rancher.?desktop"),
)
_START = {
    "Docker Desktop": "Start Docker Desktop and wait until it reports that it is running",
    "OrbStack": "Start OrbStack: `orb start`",
    "Colima": "Start Colima: `colima start --cpu 4 --memory 8`",
    "Rancher Desktop": "Start Rancher Desktop, with dockerd (moby) as its container engine",
}


class EngineError(PreflightError):
    """The container engine cannot be used; `code` names its state."""

    def __init__(self, state: str, what: str, *, why: str, hint: str) -> None:
        super().__init__(what, why=why, hint=hint)
        self.state = state
        self.code = f"docker-{state}"


@dataclass(frozen=True)
class Engine:
    """A container engine that answers; `remote` is its address if it runs on another machine."""

    version: str
    architecture: str
    memory_bytes: int
    cpus: int
    remote: str
    name: str
    api: Version = (0, 0, 0)
    containerd_store: bool = False
    warnings: tuple[str, ...] = field(default=())

    @property
    def platform(self) -> str:
        return f"linux/{self.architecture}"

    @property
    def saves_platforms(self) -> bool:
        """Whether the engine supports `docker save --platform`."""
        return self.api >= SAVE_PLATFORM_API

    def refuse_remote(self) -> None:
        """Raise PreflightError for an engine on another machine: its ports would not be on this localhost."""
        if self.remote:
            raise EngineError(
                "remote",
                f"Docker's engine is on another machine: {self.remote}",
                why="A kind cluster there has its API server and its ports on that machine's localhost",
                hint="Unset DOCKER_HOST, `docker context use default`; or `workshop up --backend embedded`",
            )


def read_engine(version: Mapping[str, Any], info: Mapping[str, Any], endpoint: str) -> Engine:
    """An Engine from `docker version` and `docker info`; raises EngineError for one that is too old."""
    server = version["Server"]
    name = _name(version, info)
    architecture = str(info.get("Architecture") or server.get("Arch", ""))
    number = parsed(server.get("Version", ""))
    # Podman counts its own versions: 5 is a new one.
    if name != "Podman" and number is not None and number < MINIMUM:
        raise EngineError(
            "too-old",
            f"Docker's engine is {server['Version']}; {spelled(MINIMUM)} is the oldest version that works",
            why=f"It answers at {endpoint or 'its default address'}",
            hint="Update Docker Engine or Docker Desktop",
        )
    return Engine(
        version=str(server.get("Version", "")),
        architecture=ARCHITECTURES.get(architecture, architecture),
        memory_bytes=int(info.get("MemTotal") or 0),
        cpus=int(info.get("NCPU") or 0),
        remote=remote_part(endpoint),
        name=name,
        api=parsed(str(server.get("ApiVersion", ""))) or (0, 0, 0),
        containerd_store="io.containerd.snapshotter.v1" in str(info.get("DriverStatus")),  # the `driver-type`
        warnings=tuple(_warnings(name, info)),
    )


def remote_part(endpoint: str) -> str:
    """The endpoint without any login, if it is on another machine; empty if it is on this one."""
    parts = urlsplit(endpoint)
    # `tcp://:2375` has no host and means this machine.
    if parts.scheme not in {"tcp", "ssh", "http", "https"} or is_loopback_host(parts.hostname or "localhost"):
        return ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"


def unreachable(output: str, endpoint: str, context: str) -> EngineError:
    """The error for the output of `docker version` when no engine answered."""
    last = output.strip().splitlines()[-1] if output.strip() else "It wrote no output"
    low = output.lower()
    if re.search(r"permission denied while trying to connect|dial unix .*permission denied", low):
        return EngineError(
            "no-permission",
            "Docker is running, but you may not use it",
            why=last,
            hint="Run `sudo usermod -aG docker $USER`, then log out and in (or run `newgrp docker`)",
        )
    if re.search(r"client version .* is too (new|old)|client is newer than server", low):
        return EngineError(
            "too-old",
            "The versions of Docker's client and engine are too far apart",
            why=last,
            hint="Update the older one: the `docker` command, or Docker Engine",
        )
    if remote_part(endpoint):
        return EngineError(
            "remote",
            f"Docker is set to an engine on another machine, and {remote_part(endpoint)} does not answer",
            why=last,
            hint="Unset DOCKER_HOST and run `docker context use default` to use this machine's",
        )
    return EngineError(
        "not-running",
        "Docker is installed, but its engine is not running",
        why=last,
        hint=_start_hint(endpoint, context),
    )


def absent() -> EngineError:
    """The error for a machine without the `docker` command."""
    return EngineError(
        "absent",
        "Docker is not installed",
        why="There is no `docker` on the PATH",
        hint="Install it (https://docs.docker.com/get-docker/), or use `workshop up --backend embedded`",
    )


def _start_hint(endpoint: str, context: str) -> str:
    for name, start in _START.items():
        if re.search(dict(_KINDS)[name], f"{context} {endpoint}", re.IGNORECASE):
            return start
    if machine.system() == "Darwin":
        return "Start Docker Desktop, OrbStack, or Colima (`colima start`)"
    if "microsoft" in machine.release().lower():
        return "Start Docker Desktop and switch on its WSL integration, or run `sudo service docker start`"
    return "Start it: `sudo systemctl start docker`"


def _name(version: Mapping[str, Any], info: Mapping[str, Any]) -> str:
    server = version["Server"]
    names = [
        info.get("OperatingSystem"),
        info.get("Name"),
        (server.get("Platform") or {}).get("Name"),
        *[component.get("Name") for component in server.get("Components") or []],
        (version.get("Client") or {}).get("Context"),
    ]
    text = " ".join(str(part) for part in names if part)
    return next((name for name, mark in _KINDS if re.search(mark, text, re.IGNORECASE)), "Docker Engine")


def _warnings(name: str, info: Mapping[str, Any]) -> Sequence[str]:
    found = []
    if name == "Podman":
        found.append("Podman answers instead of Docker; the workshop was not tested with it")
    memory = int(info.get("MemTotal") or 0)
    if 0 < memory < _LOW_MEMORY:
        found.append(f"The engine has {memory / 2**30:.1f} GiB of memory; give it 4 GiB or more")
    if "name=rootless" in (info.get("SecurityOptions") or []):
        found.append("The engine is rootless: kind then needs cgroup delegation, see its documentation")
    if str(info.get("CgroupVersion", "")) == "1":
        found.append("The engine uses cgroup v1, which Kubernetes 1.35 and newer refuse")
    return found
