"""Whole scripts of commands on a full disk, or without a usable localhost: each in mounts of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.test_conditions import FILL, SECONDS, can_unshare
from tests.environment import IsolatedInstance
from workshop.lab import process


@pytest.fixture(autouse=True)
def namespaces() -> None:
    if not can_unshare():
        pytest.skip("No namespace with mounts of its own can be made here")


@pytest.mark.parametrize("runs", ["nothing", "an instance"])
def test_a_full_disk_leaves_no_process_and_no_half_file(
    runs: str, instance: IsolatedInstance, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    up = "workshop up --upstream practice $PORTS"
    script = f"""
        workshop() {{ "{sys.executable}" -m workshop "$@"; echo "code $?"; }}
        mount -t tmpfs -o size=4m none "$DISK" && mkdir "$DISK/state" "$DISK/here" || exit 99
        cd "$DISK/here" && touch .env
        {up if runs == "an instance" else ""}
        {FILL}
        {up}
        workshop part 1 run
        workshop part 4 run --approve-as learner --trace trace.html --trace trace.json
        workshop part 4 run --variation worker --approve-as learner
        workshop part 1 exercise 1
        workshop report
        workshop demo record part-1 demo.cast
        workshop connect vscode --write --yes
        find . -type f -size 0 ! -name .env ! -name "*.lock"
        workshop teardown
    """
    done = subprocess.run(
        ["unshare", "-rm", "/bin/sh", "-c", script],
        cwd=tmp_path,
        env={
            **instance.environment,
            "DISK": str(disk),
            "WORKSHOP_HOME": str(disk / "state"),
            "PORTS": " ".join(instance.port_options),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3 * SECONDS,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert list(process.strays(disk)) == [], printed
    for forbidden in ("Traceback", "This is a bug", "./"):
        assert forbidden not in printed, printed
    assert "No space left on device" in printed
    assert done.stdout.rstrip().endswith("code 0"), printed


@pytest.mark.parametrize("hosts", ["127.0.0.1 elsewhere", "127.0.1.1 localhost"])
def test_a_localhost_that_leads_nowhere_is_named(hosts: str, instance: IsolatedInstance) -> None:
    script = f"""
        workshop() {{ "{sys.executable}" -m workshop "$@"; echo "code $?"; }}
        echo "{hosts}" > hosts && mount --bind hosts /etc/hosts || exit 99
        workshop up --upstream practice {" ".join(instance.port_options)}
        workshop part 3 run
        workshop part 3 check
        workshop doctor
        workshop teardown
    """
    done = subprocess.run(
        ["unshare", "-rm", "/bin/sh", "-c", script],
        cwd=instance.folder,
        env=instance.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3 * SECONDS,
        check=False,
    )
    problem = "has no address" if "elsewhere" in hosts else "is 127.0.1.1"
    codes = [line for line in done.stdout.splitlines() if line.startswith("code ")]
    assert codes == ["code 0", "code 3", "code 6", "code 3", "code 0"], done.stdout + done.stderr
    assert f"Error: `localhost` {problem} on this machine" in done.stderr
    assert done.stdout.count(f"`localhost` {problem}") == 2  # the check and doctor name it too
    assert instance.processes() == []
