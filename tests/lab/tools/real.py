"""Real programs and a real engine, where this machine has them."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_START_SECONDS = 60.0
_OLD_FLAGS = ("--storage-driver", "vfs", "--iptables=false", "--ip6tables=false", "--bridge=none")


def real_program(*names: str) -> str:
    """The path of the first of these programs: on the PATH, or where `go install` puts them; else a skip."""
    folders = [os.environ.get("PATH", ""), os.environ.get("GOBIN", ""), str(Path.home() / "go" / "bin")]
    for name in names:
        found = shutil.which(name, path=os.pathsep.join(filter(None, folders)))
        if found:
            return found
    pytest.skip(f"{' or '.join(names)} is not installed")


def ask_engine(address: str) -> str:
    """What stands in the way of the engine at an address; empty when it answers."""
    env = {**os.environ, "DOCKER_HOST": address} if address else dict(os.environ)
    argv = ["docker", "version", "--format", "{{.Server.Version}}"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=60)
    return (done.stderr.strip() or "it said nothing") if done.returncode else ""


@contextlib.contextmanager
def own_engine(folder: Path) -> Iterator[str]:
    """An engine of our own when WORKSHOP_TEST_DOCKERD is set; else an empty address: the usual one."""
    if not os.environ.get("WORKSHOP_TEST_DOCKERD"):
        yield ""
        return
    daemon = shutil.which("dockerd") or "/usr/sbin/dockerd"
    address = f"unix://{folder}/docker.sock"
    argv = [daemon, "--host", address, "--data-root", str(folder / "data"), *_OLD_FLAGS]
    argv += ["--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while ask_engine(address) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_START_SECONDS)


def import_tiny_image(folder: Path, name: str) -> None:
    """Give the engine an image with one static program in it, and no registry asked."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("There is no busybox to make an image of")
    archive = folder / "root.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(busybox, "bin/busybox")
        link = tarfile.TarInfo("bin/sh")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        tar.addfile(link)
    subprocess.run(["docker", "import", str(archive), name], check=True, capture_output=True)


def platforms(archive: Path) -> list[str]:
    """The platform of each image in an archive."""
    with tarfile.open(archive) as tar:
        manifest = json.loads(_member(tar, "manifest.json"))
        configs = [json.loads(_member(tar, image["Config"])) for image in manifest]
    return [f"{config['os']}/{config['architecture']}" for config in configs]


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()
