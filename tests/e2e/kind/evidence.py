"""What there is to know when a test on a real cluster fails: nobody may be able to look again."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

_SECONDS = 60
_LINES = 60
_RESOURCES = (
    "mcpservers,mcpremoteproxies,mcpoidcconfigs,mcpexternalauthconfigs,mcptoolconfigs,virtualmcpservers"
)


def evidence(kubectl: Sequence[str], namespace: str, node: str | None, logs: Path) -> str:
    """The tools' versions, the node, the pods and what they last said; no secret is among it."""
    tools = [["docker", "version"], ["docker", "ps", "--all"], ["kind", "version"], ["helm", "version"]]
    inside = [["crictl", "images"], ["crictl", "ps", "--all"], ["journalctl", "-u", "kubelet", "-n", "20"]]
    cluster = [
        ["get", "nodes", "-o", "wide"],
        ["get", "pods", "-A", "-o", "wide"],
        ["get", "events", "-A", "--sort-by=.metadata.creationTimestamp"],
        ["get", _RESOURCES, "-n", namespace, "-o", "yaml"],
        ["describe", "pods", "-n", namespace],
        ["logs", "-n", namespace, "deployment/toolhive-operator"],
        ["logs", "-n", namespace, "-l", "toolhive=true", "--all-containers", "--prefix", "--tail=60"],
        ["logs", "-n", namespace, "deployment/practice-github"],
    ]
    asked = [*tools, *([["docker", "exec", node, *words] for words in inside] if node else [])]
    asked += [[*kubectl, *words] for words in cluster]
    return "\n".join([*map(_said, asked), *map(_last, sorted(logs.glob("*/log.txt")))])


def _said(argv: Sequence[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_SECONDS, check=False)
        told = done.stdout + done.stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        told = str(error)
    lines = told.splitlines()
    whole = "yaml" in argv or "describe" in argv
    return "\n".join([f"$ {' '.join(argv)}", *(lines if whole else lines[-_LINES:])])


def _last(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([f"$ tail {log}", *lines[-_LINES:]])
