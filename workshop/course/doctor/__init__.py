"""The doctor: the checks of this machine. Here: what every check gets, and what it finds."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from workshop.core.errors import WorkshopError
from workshop.lab.tools.docker import Docker
from workshop.lab.tools.engine import Engine
from workshop.lab.tools.run import Runner

Severity = Literal["ok", "info", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """The result of one check; `repair` fixes the problem and returns a sentence about it."""

    id: str
    severity: Severity
    found: str
    remedy: str = ""
    repair: Callable[[], str] | None = field(default=None, repr=False, compare=False)

    @property
    def fixable(self) -> bool:
        return self.repair is not None


@dataclass(frozen=True)
class Machine:
    """What the checks may use; `cluster`: also check for one; `online`: they may connect to registries."""

    runner: Runner
    home: Path
    env_file: Path | None = None
    cluster: bool = False
    online: bool = False

    @cached_property
    def docker(self) -> Docker:
        """The one `docker` of all checks: it examines its engine once."""
        return Docker(self.runner)

    @cached_property
    def engine(self) -> Engine | WorkshopError:
        """The engine that answers, or why none does."""
        try:
            return self.docker.examine()
        except WorkshopError as error:
            return error

    @property
    def unless_wanted(self) -> Severity:
        """The severity of an unusable cluster tool: a failure only with `cluster`."""
        return "fail" if self.cluster else "info"


Check = Callable[[Machine], Iterable[Finding]]
