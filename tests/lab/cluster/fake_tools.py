"""docker, kind, helm and kubectl as far as `up` uses them: one program that remembers what was made."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

NAMES = ("docker", "kind", "helm", "kubectl")
PROGRAM = """#!{python} -IS
import json, os, sys
from pathlib import Path
here, name, words = Path({here!r}), Path(sys.argv[0]).name, sys.argv[1:]
with (here / "calls").open("a") as calls:
    calls.write(json.dumps([name, *words]) + chr(10))
for wanted in json.loads((here / "fail").read_text()):
    if wanted[0] == name and set(wanted[1:]) <= set(words):
        sys.exit("error: " + " ".join(wanted) + " was told to fail")

def after(flag): return words[words.index(flag) + 1]
def write(name, value): (here / name).write_text(json.dumps(value))
def resolves(name):
    left = json.loads((here / "unresolved").read_text())
    if left.get(name): write("unresolved", left | dict([(name, left[name] - 1)]))
    return not left.get(name)
def held(what): return [path.name.replace("|", "/") for path in sorted((here / what).glob("*"))]
def add(what, *items):
    (here / what).mkdir(exist_ok=True)
    for item in items: (here / what / item.replace("/", "|")).touch()
def drop(what, *items):
    for item in items: (here / what / item.replace("/", "|")).unlink(missing_ok=True)
def is_(*start): return words[:len(start)] == list(start)
def say(value): print(value if isinstance(value, str) else json.dumps(value))
def id_of(image): return "sha256:" + image.encode().hex().ljust(64, "0")[:64]
def access(cluster, path):
    Path(path).write_text((here / "kubeconfig").read_text().replace("CONTEXT", "kind-" + cluster))

def import_(archive):
    import tarfile
    with tarfile.open(fileobj=archive, mode="r|") as tar:
        for member in tar:
            if member.name == "manifest.json":
                for image in json.load(tar.extractfile(member)): add("node", *image["RepoTags"])

def docker():
    if is_("version") and held("stopped"):
        say(dict(Client=dict(), Server=None))
        sys.exit("Cannot connect to the Docker daemon. Is the docker daemon running?")
    elif is_("version"): say(dict(Server=dict(Version="28.2.2", ApiVersion="1.50", Arch="amd64")))
    elif is_("info"): say(dict(Architecture="x86_64", MemTotal=8 << 30, NCPU=4, OperatingSystem="Debian"))
    elif is_("context"): say(dict(Name="default", Endpoints=dict(docker=dict(Host="unix:///run/docker.sock"))))
    elif is_("image", "inspect"):
        if words[-1] not in held("engine"): sys.exit("Error: No such image: " + words[-1])
        say(dict(Id=id_of(words[-1]), Os="linux", Architecture="amd64", Config=dict(Labels=None)))
    elif is_("pull"): add("engine", words[-1])
    elif is_("save"):
        import io, tarfile
        saved = words[words.index("--output") + 2:]
        told = [dict(Config=id_of(image)[7:] + ".json", RepoTags=[image]) for image in saved]
        text = json.dumps(told).encode()
        with tarfile.open(after("--output"), "w") as tar:
            info = tarfile.TarInfo("manifest.json"); info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    elif is_("exec") and "crictl" in words:
        full = lambda image: image if "." in image.split("/")[0] else "docker.io/" + image
        say(dict(images=[dict(id=id_of(image), repoTags=[full(image)]) for image in held("node")]))
    elif is_("exec") and "bash" in words:
        say("12 34 81 80 00 01 00 01" if resolves("kubernetes.default") else "12 34 81 82 00 01 00 00")
    elif is_("container", "inspect"):
        if words[-1].removesuffix("-control-plane") not in held("clusters"):
            sys.exit("Error: No such container: " + words[-1])
        say((here / "node.json").read_text())
    elif is_("exec") and "import" in words: import_(sys.stdin.buffer)
    elif is_("cp"): Path(words[-1]).write_text((here / "kubeadm.conf").read_text())
    elif is_("start"):
        state = json.loads((here / "node.json").read_text())
        if not state["Running"]:
            write("node.json", dict(Running=True, StartedAt="2026-11-22T09:00:00.123456789Z"))
    else: sys.exit("the fake docker does not know " + str(words))

def kind():
    if held("stopped") and not is_("version"):
        sys.exit("ERROR: failed to list clusters: command failed with error: exit status 1" + chr(10) +
                 "Command Output: Cannot connect to the Docker daemon. Is the docker daemon running?")
    if is_("version"): say("kind v0.33.0 go1.25.1 linux/amd64")
    elif is_("get", "clusters"): say(chr(10).join(held("clusters")))
    elif is_("get", "nodes"):
        if after("--name") in held("clusters"): say(after("--name") + "-control-plane")
    elif is_("create"):
        config = Path(after("--config")).read_text()
        label = config.split("workshop/instance:")[1].split()[0]
        (here / "kubeadm.conf").write_text('node-labels: "workshop/instance=' + label.strip("'") + '"')
        add("clusters", after("--name"))
        write("node.json", dict(Running=True, StartedAt="2026-11-21T08:00:00.123456789Z"))
        access(after("--name"), after("--kubeconfig"))
    elif is_("export"): access(after("--name"), after("--kubeconfig"))
    elif is_("delete"):
        drop("clusters", after("--name"))
        drop("node", *held("node")); drop("releases", *held("releases"))

def helm():
    if is_("version"): say("v3.19.0")
    elif is_("pull"):
        chart = words[1].rsplit("/", 1)[-1] + "-" + after("--version") + ".tgz"
        Path(after("--destination"), chart).write_text("chart")
    elif is_("history"):
        if words[1] not in held("releases"): sys.exit("Error: release: not found")
        say([dict(revision=1, status="deployed", chart=words[1] + "-0.63.0")])
    elif is_("upgrade"): add("releases", words[1])
    elif is_("uninstall"): drop("releases", words[1])

def kubectl():
    if is_("version"): say(dict(clientVersion=dict(gitVersion="v1.35.1")))
    elif is_("config", "view"):
        if words[-1] != "--context=lab": sys.exit("error: context was not found")
        say((here / "kubeconfig").read_text().replace("CONTEXT", "lab"))
    elif "exec" in words:
        if held("no-exec"):
            sys.exit('Error from server (Forbidden): pods "p" is forbidden: User "seat" cannot create '
                'resource "pods/exec" in API group "" in the namespace "n"')
        for name in words[words.index("-c") + 2:]:
            if not resolves(name): say(name + " " + (here / "told").read_text())
    elif "port-forward" in words:
        import http.server
        class Healthy(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.rfile.read(int(self.headers.get("content-length") or 0))
                self.send_response(503 if self.command == "POST" and held("deaf") else 200)
                self.end_headers()
            do_POST = do_GET
            def log_message(self, *_): pass
        served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Healthy)
        print("Forwarding from 127.0.0.1:%d -> 8080" % served.server_port, flush=True)
        served.serve_forever()

dict(docker=docker, kind=kind, helm=helm, kubectl=kubectl)[name]()
"""


@dataclass(frozen=True)
class FakeMachine:
    """The four programs on a PATH in front of what is there, and what they made."""

    folder: Path

    @classmethod
    def install(cls, folder: Path, monkeypatch: pytest.MonkeyPatch, kubeconfig: str) -> "FakeMachine":
        here, programs = folder / "made", folder / "bin"
        here.mkdir()
        programs.mkdir()
        (here / "kubeconfig").write_text(kubeconfig)
        for name in NAMES:
            (programs / name).write_text(PROGRAM.format(python=sys.executable, here=str(here)))
            (programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        machine = cls(here)
        machine.fail()
        machine.unresolved({})
        return machine

    def fail(self, *commands: str) -> None:
        """From now on these commands fail, each given by words of it; none for all well again."""
        (self.folder / "fail").write_text(json.dumps([command.split() for command in commands]))

    def restart(self, at: str) -> None:
        """The node's container was started again, by nobody of ours."""
        (self.folder / "node.json").write_text(json.dumps({"Running": True, "StartedAt": at}))

    def stop(self) -> None:
        """The node's container was stopped."""
        state = json.loads((self.folder / "node.json").read_text())
        (self.folder / "node.json").write_text(json.dumps({**state, "Running": False}))

    def unresolved(
        self, times: Mapping[str, int], told: str = "Temporary failure in name resolution"
    ) -> None:
        """How many times from now on a name in the cluster does not resolve, or HOST:PORT does not connect.

        A pod that asks is `told` why.
        """
        (self.folder / "unresolved").write_text(json.dumps(times))
        (self.folder / "told").write_text(told)

    def held(self, what: str) -> list[str]:
        """What there is: `clusters`, `node` images, `engine` images, `releases`."""
        return [path.name.replace("|", "/") for path in sorted((self.folder / what).glob("*"))]

    def add(self, what: str, item: str) -> None:
        """Let there be this, as if somebody else had made it."""
        (self.folder / what).mkdir(exist_ok=True)
        (self.folder / what / item.replace("/", "|")).touch()

    def calls(self, *words: str) -> list[list[str]]:
        """The commands so far that have these words."""
        path = self.folder / "calls"
        told = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [call for call in told if set(words) <= set(call)]
