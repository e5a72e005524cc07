"""docker, kind, helm and kubectl as far as `up` uses them: programs that remember what was made.

`FakeMachine` writes the commands, each of which calls `main`. An `up` runs fifty of them, so this module
imports nothing that takes time to load, such as pathlib and typing, except where a command needs it.
"""
# ruff: noqa: PTH103, PTH108, PTH112, PTH123, PTH208, T201

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    Answer = Callable[["Folder", list[str]], str | None]


class Folder:
    """The folder with what was made: a file for each thing, in a folder for each kind of thing."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self, name: str) -> str:
        with open(f"{self.path}/{name}", encoding="utf-8") as file:
            return file.read()

    def write(self, name: str, text: str) -> None:
        _write(f"{self.path}/{name}", text)

    def held(self, what: str) -> list[str]:
        path = f"{self.path}/{what}"
        names = os.listdir(path) if os.path.isdir(path) else []
        return [name.replace("|", "/") for name in sorted(names)]

    def add(self, what: str, *items: str) -> None:
        os.makedirs(f"{self.path}/{what}", exist_ok=True)
        for item in items:
            self.write(f"{what}/{item.replace('/', '|')}", "")

    def drop(self, what: str, *items: str) -> None:
        for item in {*items}.intersection(self.held(what)):
            os.unlink(f"{self.path}/{what}/{item.replace('/', '|')}")


def main(path: str, command: str, words: list[str]) -> None:
    """Note the command, fail if it is to fail, else answer it as far as the real program would."""
    here, name = Folder(path), command.rpartition("/")[2]
    with open(f"{path}/calls", "a", encoding="utf-8") as calls:
        calls.write(f"{[name, *words]!r}\n")
    for line in here.read("fail").splitlines():
        program, *marks = line.split()
        if program == name and {*marks} <= {*words}:
            sys.exit(f"error: {line} was told to fail")
    for (program, *marks), answer in ANSWERS.items():
        if program == name and {*marks} <= {*words}:
            text = answer(here, words)
            if text is not None:
                print(text)
            return
    if name == "docker":
        sys.exit(f"the fake docker does not know {words}")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _after(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


def _id(image: str) -> str:
    return "sha256:" + image.encode().hex().ljust(64, "0")[:64]


def _resolves(here: Folder, name: str) -> bool:
    """Whether a name in the cluster resolves now; one that does not yet may the next time."""
    import json

    left: dict[str, int] = json.loads(here.read("unresolved"))
    if left.get(name):
        here.write("unresolved", json.dumps({**left, name: left[name] - 1}))
    return not left.get(name)


def _docker_version(here: Folder, _words: list[str]) -> str:
    if here.held("stopped"):
        print('{"Client": {}, "Server": null}')
        sys.exit("Cannot connect to the Docker daemon. Is the docker daemon running?")
    return '{"Server": {"Version": "28.2.2", "ApiVersion": "1.50", "Arch": "amd64"}}'


def _image(here: Folder, words: list[str]) -> str:
    if words[-1] not in here.held("engine"):
        sys.exit(f"Error: No such image: {words[-1]}")
    about = '"Os": "linux", "Architecture": "amd64", "Config": {"Labels": null}'
    return f'{{"Id": "{_id(words[-1])}", {about}}}'


def _save(_here: Folder, words: list[str]) -> None:
    import io
    import json
    import tarfile

    saved = words[words.index("--output") + 2 :]
    images = [{"Config": f"{_id(image)[7:]}.json", "RepoTags": [image]} for image in saved]
    text = json.dumps(images).encode()
    with tarfile.open(_after(words, "--output"), "w") as tar:
        info = tarfile.TarInfo("manifest.json")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))


def _import(here: Folder, _words: list[str]) -> None:
    import json
    import tarfile

    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as tar:
        for member in tar:
            held: IO[bytes] | None = tar.extractfile(member) if member.name == "manifest.json" else None
            for image in json.load(held) if held else ():
                here.add("node", *image["RepoTags"])


def _node_images(here: Folder, _words: list[str]) -> str:
    names = {
        image: image if "." in image.split("/")[0] else f"docker.io/{image}" for image in here.held("node")
    }
    images = [f'{{"id": "{_id(image)}", "repoTags": ["{name}"]}}' for image, name in names.items()]
    return f'{{"images": [{", ".join(images)}]}}'


def _cluster_dns(here: Folder, _words: list[str]) -> str:
    found = _resolves(here, "kubernetes.default")
    return "12 34 81 80 00 01 00 01" if found else "12 34 81 82 00 01 00 00"


def _in_node(here: Folder, words: list[str]) -> None:
    """Run a shell's script, whose arguments are files of the node that are in a folder here."""
    import subprocess

    script = words.index("-c") + 1
    paths = [f"{here.path}/files{word}" if word.startswith("/") else word for word in words[script + 1 :]]
    sys.exit(subprocess.run(["sh", "-c", words[script], *paths], check=False).returncode)


def _container(here: Folder, words: list[str]) -> str:
    if words[-1].removesuffix("-control-plane") not in here.held("clusters"):
        sys.exit(f"Error: No such container: {words[-1]}")
    return here.read("node.json")


def _start(here: Folder, _words: list[str]) -> None:
    if '"Running": true' not in here.read("node.json"):
        here.write("node.json", '{"Running": true, "StartedAt": "2026-11-22T09:00:00.123456789Z"}')


def _needs_docker(here: Folder) -> None:
    if here.held("stopped"):
        sys.exit(
            "ERROR: failed to list clusters: command failed with error: exit status 1\n"
            "Command Output: Cannot connect to the Docker daemon. Is the docker daemon running?"
        )


def _clusters(here: Folder, _words: list[str]) -> str:
    _needs_docker(here)
    return "\n".join(here.held("clusters"))


def _nodes(here: Folder, words: list[str]) -> str | None:
    _needs_docker(here)
    name = _after(words, "--name")
    return f"{name}-control-plane" if name in here.held("clusters") else None


def _create(here: Folder, words: list[str]) -> None:
    _needs_docker(here)
    with open(_after(words, "--config"), encoding="utf-8") as config:
        label = config.read().split("workshop/instance:")[1].split()[0].strip("'")
    here.write("kubeadm.conf", f'node-labels: "workshop/instance={label}"')
    here.add("clusters", _after(words, "--name"))
    here.write("node.json", '{"Running": true, "StartedAt": "2026-11-21T08:00:00.123456789Z"}')
    _export(here, words)


def _export(here: Folder, words: list[str]) -> None:
    _needs_docker(here)
    text = here.read("kubeconfig").replace("CONTEXT", f"kind-{_after(words, '--name')}")
    _write(_after(words, "--kubeconfig"), text)


def _delete(here: Folder, words: list[str]) -> None:
    _needs_docker(here)
    here.drop("clusters", _after(words, "--name"))
    here.drop("node", *here.held("node"))
    here.drop("releases", *here.held("releases"))


def _pull_chart(_here: Folder, words: list[str]) -> None:
    chart = f"{words[1].rsplit('/', 1)[-1]}-{_after(words, '--version')}.tgz"
    _write(f"{_after(words, '--destination')}/{chart}", "chart")


def _history(here: Folder, words: list[str]) -> str:
    if words[1] not in here.held("releases"):
        sys.exit("Error: release: not found")
    return f'[{{"revision": 1, "status": "deployed", "chart": "{words[1]}-0.63.0"}}]'


def _context(here: Folder, words: list[str]) -> str:
    if words[-1] != "--context=lab":
        sys.exit("error: context was not found")
    return here.read("kubeconfig").replace("CONTEXT", "lab")


def _in_pod(here: Folder, words: list[str]) -> str | None:
    if here.held("no-exec"):
        sys.exit(
            'Error from server (Forbidden): pods "p" is forbidden: User "seat" cannot create '
            'resource "pods/exec" in API group "" in the namespace "n"'
        )
    why = here.read("told")
    lines = [f"{name} {why}" for name in words[words.index("-c") + 2 :] if not _resolves(here, name)]
    return "\n".join(lines) or None


def _port_forward(here: Folder, _words: list[str]) -> None:
    """Serve a healthy program; its MCP requests fail while something is `deaf`."""
    import _thread
    import socket

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as received:
            method = received.readline().partition(b" ")[0]
            length = 0
            while (line := received.readline().strip().lower()) != b"":
                length = int(line[15:]) if line.startswith(b"content-length:") else length
            received.read(length)
            status = b"503 Busy" if method == b"POST" and here.held("deaf") else b"200 OK"
            connection.sendall(b"HTTP/1.0 " + status + b"\r\n\r\n")

    listening = socket.create_server(("127.0.0.1", 0))
    print(f"Forwarding from 127.0.0.1:{listening.getsockname()[1]} -> 8080", flush=True)
    while True:
        _thread.start_new_thread(serve, (listening.accept()[0],))


ANSWERS: dict[tuple[str, ...], Answer] = {  # by the program and words of the command; the first that fits
    ("docker", "version"): _docker_version,
    ("docker", "info"): lambda *_: (
        '{"Architecture": "x86_64", "MemTotal": 8589934592, "NCPU": 4, "OperatingSystem": "Debian"}'
    ),
    ("docker", "context"): lambda *_: (
        '{"Name": "default", "Endpoints": {"docker": {"Host": "unix:///run/docker.sock"}}}'
    ),
    ("docker", "exec", "crictl"): _node_images,
    ("docker", "exec", "bash"): _cluster_dns,
    ("docker", "exec", "import"): _import,
    ("docker", "exec", "cat"): lambda here, words: here.read(f"files{words[-1]}"),
    ("docker", "exec", "sh"): _in_node,
    ("docker", "image", "inspect"): _image,
    ("docker", "pull"): lambda here, words: here.add("engine", words[-1]),
    ("docker", "save"): _save,
    ("docker", "container", "inspect"): _container,
    ("docker", "cp"): lambda here, words: _write(words[-1], here.read("kubeadm.conf")),
    ("docker", "start"): _start,
    ("kind", "version"): lambda *_: "kind v0.33.0 go1.25.1 linux/amd64",
    ("kind", "get", "clusters"): _clusters,
    ("kind", "get", "nodes"): _nodes,
    ("kind", "create"): _create,
    ("kind", "export"): _export,
    ("kind", "delete"): _delete,
    ("helm", "version"): lambda *_: "v3.19.0",
    ("helm", "pull"): _pull_chart,
    ("helm", "history"): _history,
    ("helm", "upgrade"): lambda here, words: here.add("releases", words[1]),
    ("helm", "uninstall"): lambda here, words: here.drop("releases", words[1]),
    ("kubectl", "version"): lambda *_: '{"clientVersion": {"gitVersion": "v1.35.1"}}',
    ("kubectl", "config", "view"): _context,
    ("kubectl", "exec"): _in_pod,
    ("kubectl", "port-forward"): _port_forward,
}
