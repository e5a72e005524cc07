"""Fake programs on the PATH: each records how it was called, and replays what a test told it to answer.

Among them is a `docker` with an engine behind it that describes itself as a real one does.
"""

import ast
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from workshop.lab.tools.docker import Docker
from workshop.lab.tools.run import Runner

# A test starts up to thirty of these, so they import nothing that takes time to load, such as json.
_PROGRAM = """#!{python} -IS
import os, sys, time
folder, name, words = {folder!r}, {name!r}, sys.argv[1:]
with open(folder + "/replies") as file:
    replies = eval(file.read())

def fits(wanted):
    rest = iter(words)
    return all(word in rest for word in wanted)

found = [reply for reply in replies if reply["name"] == name and fits(reply["words"])]
stdin = sys.stdin.buffer.read().decode() if any(reply["reads"] for reply in found) else ""
call = dict(argv=[name, *words], env=dict(os.environ), stdin=stdin)
path = f"{{folder}}/{{time.time_ns()}}-{{os.getpid()}}"
with open(path + ".tmp", "w") as file:
    file.write(ascii(call))
os.rename(path + ".tmp", path + ".call")
for index, reply in reversed(list(enumerate(replies))):
    if reply not in found:
        continue
    if reply["times"] is not None:
        with open(f"{{folder}}/used-{{index}}", "a+") as used:
            done = used.tell()
            if done >= reply["times"]:
                continue
            used.write(".")
    exec(reply["does"], dict(argv=sys.argv))
    sys.stdout.write(reply["stdout"])
    sys.stderr.write(reply["stderr"])
    sys.exit(reply["code"])
sys.exit(f"the fake {{name}} was not told what to answer to {{words}}")
"""


@dataclass(frozen=True)
class Call:
    """One call of a fake: its arguments, its environment, and its input where the reply asked for it."""

    argv: list[str]
    env: dict[str, str]
    stdin: str


class FakeTools:
    """Puts fakes on the PATH, alone or in front of what is there."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, alone: bool = True) -> None:
        self._calls = folder / "calls"
        self._bin = folder / "bin"
        self._replies: list[dict[str, object]] = []
        self._calls.mkdir(parents=True)
        self._bin.mkdir()
        path = str(self._bin) if alone else f"{self._bin}{os.pathsep}{os.environ['PATH']}"
        monkeypatch.setenv("PATH", path)

    def on(
        self,
        name: str,
        *words: str,
        stdout: str = "",
        stderr: str = "",
        code: int = 0,
        times: int | None = None,
        reads: bool = False,
        does: str = "",
    ) -> None:
        """Answer calls that have these words in this order; later answers come first, `times` bounds one.

        `does` is Python that runs before the answer, with `argv` at hand; `reads` records the input.
        """
        reply = {"name": name, "words": words, "stdout": stdout, "stderr": stderr, "code": code}
        self._replies.append({**reply, "times": times, "reads": reads, "does": does})
        (self._calls / "replies").write_text(ascii(self._replies))
        program = self._bin / name
        if not program.exists():
            text = _PROGRAM.format(python=sys.executable, folder=str(self._calls), name=name)
            program.write_text(text)
            program.chmod(0o755)

    def calls(self, name: str | None = None, *words: str) -> list[Call]:
        """The calls so far, in their order; only those of `name`, and with `words` among the arguments."""
        told = [ast.literal_eval(path.read_text()) for path in sorted(self._calls.glob("*.call"))]
        calls = [Call(**call) for call in told if name is None or call["argv"][0] == name]
        return [call for call in calls if set(words).issubset(call.argv)]

    def argvs(self, name: str | None = None, *words: str) -> list[list[str]]:
        """The argument lists of the calls so far."""
        return [call.argv for call in self.calls(name, *words)]


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
