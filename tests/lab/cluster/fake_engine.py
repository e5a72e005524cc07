"""A Docker engine and a kind node for the tests of images: fake programs that keep what they are given."""

import json
from pathlib import Path
from typing import Any

from tests.lab.tools.fakes import FakeTools

# What the fake `docker save` does: an archive like Docker's, with the ids it was told.
SAVE = """
import io, json, tarfile
words, ids = argv[1:], json.loads({ids!r})
target = words[words.index("--output") + 1]
saved = [word for word in words if word in ids]
told = [dict(Config=ids[one].removeprefix("sha256:") + ".json", RepoTags=[one]) for one in saved]
layer, index = b"layer of " + saved[0].encode() * 40, json.dumps(told).encode()
with tarfile.open(target, "w") as tar:
    for name, data in (("layer.tar", layer), ("manifest.json", index)):
        member = tarfile.TarInfo(name)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
"""


class FakeEngine:
    """What the engine and the node have; tell it before acting."""

    def __init__(self, fakes: FakeTools, *, containerd_store: bool = False) -> None:
        self.fakes = fakes
        store = [["driver-type", "io.containerd.snapshotter.v1"]] if containerd_store else None
        local = {"Name": "default", "Endpoints": {"docker": {"Host": "unix:///var/run/docker.sock"}}}
        server = {"Version": "28.2.2", "ApiVersion": "1.50", "Arch": "amd64"}
        fakes.on("docker", "context", "inspect", stdout=json.dumps(local))
        fakes.on("docker", "version", stdout=json.dumps({"Client": {"Context": "default"}, "Server": server}))
        fakes.on("docker", "info", stdout=json.dumps({"Architecture": "x86_64", "DriverStatus": store}))
        fakes.on("docker", "image", "inspect", stderr="Error: No such image: it", code=1)
        for words in (("pull",), ("build",), ("load",), ("tag",), ("exec", "crictl", "pull")):
            fakes.on("docker", *words)
        fakes.on("docker", "exec", "ctr", "images", "import", reads=True)
        fakes.on("kind", "get", "nodes", stdout="workshop-control-plane\n")
        fakes.on("kind", "load", "image-archive")
        self.node_has({})

    def has(self, reference: str, image_id: str, *, architecture: str = "amd64", labels: Any = None) -> None:
        """The engine has an image."""
        told = {"Id": image_id, "Os": "linux", "Architecture": architecture, "Config": {"Labels": labels}}
        self.fakes.on("docker", "image", "inspect", reference, stdout=json.dumps(told))

    def saves(self, ids: dict[str, str]) -> None:
        """`docker save` writes these ids."""
        self.fakes.on("docker", "save", does=SAVE.format(ids=json.dumps(ids)))

    def node_has(self, ids: dict[str, str]) -> None:
        """The node has these images, as containerd names them."""
        images = [{"id": image_id, "repoTags": [reference]} for reference, image_id in ids.items()]
        images.append({"id": "sha256:untagged", "repoTags": []})
        self.fakes.on("docker", "exec", "crictl", "images", stdout=json.dumps({"images": images}))

    def imports(self) -> list[str]:
        """The archives that the node was given, as far as they are text."""
        return [call.stdin for call in self.fakes.calls("docker", "exec", "import")]

    def did(self, program: str, *words: str) -> list[list[str]]:
        """The calls of a program with these words."""
        return self.fakes.argvs(program, *words)


def archive_of(folder: Path, name: str) -> Path:
    """A file to stand for an archive that a bundle brought."""
    path = folder / name
    path.write_text(f"archive of {name}")
    return path
