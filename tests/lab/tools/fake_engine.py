"""A fake `docker` with an engine behind it that describes itself as a real one does."""

import json
from typing import Any

from tests.lab.tools.fakes import FakeTools
from workshop.lab.tools.docker import Docker
from workshop.lab.tools.run import Runner

# What Docker 28's client and Debian's engine 20.10 print, shortened.
VERSION: dict[str, Any] = {
    "Client": {"Version": "28.2.2", "Context": "default"},
    "Server": {
        "Platform": {"Name": ""},
        "Components": [{"Name": "Engine", "Version": "20.10.24+dfsg1"}],
        "Version": "20.10.24+dfsg1",
        "ApiVersion": "1.41",
        "Arch": "amd64",
    },
}
INFO: dict[str, Any] = {
    "DriverStatus": None,
    "CgroupVersion": "2",
    "OperatingSystem": "Debian GNU/Linux 12 (bookworm)",
    "Architecture": "x86_64",
    "NCPU": 2,
    "MemTotal": 25276502016,
    "Name": "vm",
    "SecurityOptions": ["name=seccomp,profile=default"],
}
LOCAL = "unix:///var/run/docker.sock"


def docker(fakes: FakeTools, endpoint: str = LOCAL, context: str = "default", **changes: Any) -> Docker:
    told = {"Name": context, "Endpoints": {"docker": {"Host": endpoint}}}
    fakes.on("docker", "context", "inspect", stdout=json.dumps(told))
    server = {**VERSION["Server"], **changes.pop("server", {})}
    fakes.on("docker", "version", stdout=json.dumps({**VERSION, "Server": server}))
    fakes.on("docker", "info", stdout=json.dumps({**INFO, **changes}))
    return Docker(Runner())
