"""A machine with a fake docker, kind, helm and kubectl, as far as `up` uses them."""

import ast
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

NAMES = ("docker", "kind", "helm", "kubectl")
COMMAND = """#!{python} -IS
import sys
sys.path.insert(0, {beside!r})
from fake_programs import main
main({here!r}, sys.argv[0], sys.argv[1:])
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
            text = COMMAND.format(python=sys.executable, beside=str(Path(__file__).parent), here=str(here))
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        machine = cls(here)
        machine.fail()
        machine.unresolved({})
        return machine

    def fail(self, *commands: str) -> None:
        """From now on these commands fail, each given by words of it; none for all well again."""
        (self.folder / "fail").write_text("\n".join(commands))

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
        lines = path.read_text().splitlines() if path.exists() else []
        calls: list[list[str]] = [ast.literal_eval(line) for line in lines]
        return [call for call in calls if set(words) <= set(call)]
