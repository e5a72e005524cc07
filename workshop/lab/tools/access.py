"""How a cluster is reached: always an explicit kubeconfig file, never the person's current context."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Access:
    """A kubeconfig file and a context in it; None takes the file's own current context."""

    kubeconfig: Path
    context: str | None = None

    @property
    def env(self) -> dict[str, str]:
        return {"KUBECONFIG": str(self.kubeconfig)}

    def flags(self, context_flag: str) -> list[str]:
        """The flags that lead a program here; kubectl and helm name the context differently."""
        chosen = [context_flag, self.context] if self.context else []
        return ["--kubeconfig", str(self.kubeconfig), *chosen]
