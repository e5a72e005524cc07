"""The `kubectl` command, always with an explicit kubeconfig and context."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workshop.core.errors import PreflightError
from workshop.lab.tools.run import Done, Runner, Version, parsed, spelled

MINIMUM: Final[Version] = (1, 25, 0)  # ToolHive's own floor
_ASK_SECONDS = 30.0


@dataclass(frozen=True)
class Access:
    """A kubeconfig file and a context in it; None takes the file's own current context."""

    kubeconfig: Path
    context: str | None = None

    def flags(self, context_flag: str) -> list[str]:
        """The flags that select this cluster; kubectl and helm name the context differently."""
        chosen = [context_flag, self.context] if self.context else []
        return ["--kubeconfig", str(self.kubeconfig), *chosen]


class Kubectl:
    """Drives `kubectl`; never uses the person's kubeconfig."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def examine(self) -> Version:
        """The version of kubectl; raises PreflightError when it is absent or too old."""
        argv = ("kubectl", "version", "--client", "--output", "json")
        done = self._runner.run(argv, seconds=_ASK_SECONDS)
        try:
            version = parsed(json.loads(done.stdout)["clientVersion"]["gitVersion"])
        except (ValueError, LookupError, TypeError):
            version = parsed(done.stdout)
        if version is None or version < MINIMUM:
            raise PreflightError(
                f"kubectl is too old: {spelled(version) if version else done.stdout.strip()[:80]}",
                why=f"{spelled(MINIMUM)} is the oldest version that works",
                hint="Update kubectl: https://kubernetes.io/docs/tasks/tools/",
            )
        return version

    @staticmethod
    def argv(at: Access, *words: str) -> list[str]:
        """A kubectl command against one cluster."""
        return ["kubectl", *at.flags("--context"), *words]

    def port_forward_argv(
        self, at: Access, namespace: str, target: str, local: int, remote: int
    ) -> list[str]:
        """The command that forwards a port of this machine's localhost to a port of `target`."""
        return self.argv(at, "--namespace", namespace, "port-forward", target, f"{local}:{remote}")

    def exec(
        self, at: Access, namespace: str, pod: str, words: Sequence[str], *, seconds: float = _ASK_SECONDS
    ) -> Done:
        """Run a command in a pod, whatever its exit code; `words` may begin with the container's flag."""
        argv = self.argv(at, "--namespace", namespace, "exec", pod, *words)
        return self._runner.run(argv, seconds=seconds, check=False)

    def run(self, at: Access, *words: str, seconds: float = _ASK_SECONDS, stdin: bytes | None = None) -> Done:
        """Run a kubectl command against one cluster."""
        return self._runner.run(self.argv(at, *words), seconds=seconds, stdin=stdin)


def skew_note(client: Version, server: Version) -> str:
    """A warning if kubectl and a cluster are more than one minor version apart; else empty."""
    if client[0] == server[0] and abs(client[1] - server[1]) <= 1:
        return ""
    return (
        f"kubectl is {spelled(client)} and the cluster {spelled(server)}: "
        "Kubernetes supports one minor version apart"
    )
