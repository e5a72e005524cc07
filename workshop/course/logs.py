"""Read the workloads' logs: the last lines, then the new ones."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from workshop.core.errors import PreflightError, UsageError
from workshop.core.redaction import known_secrets, without_secrets
from workshop.core.text import unbroken
from workshop.course import environment
from workshop.lab.logs import Log

_POLL_SECONDS = 0.5
_POLLS_BEFORE_REFRESH = 10  # how often to look for logs that appeared or went


@dataclass(frozen=True)
class Written:
    """New lines of one log, escaped for a terminal and without secrets."""

    name: str
    lines: Sequence[str]


class Logs:
    """The logs of one workload, or of all; `env_file` names the secrets to hide."""

    def __init__(self, wanted: str | None, env_file: Path | None = None) -> None:
        self._wanted = wanted
        self._env_file = env_file
        self._logs = chosen(environment.logs(), wanted)
        self._hidden = known_secrets(env_file)

    @property
    def names(self) -> Sequence[str]:
        return [log.name for log in self._logs]

    def last(self, lines: int) -> list[Written]:
        """The last lines of each."""
        return [self._written(log, log.last(lines)) for log in self._logs]

    def follow(self) -> Iterator[Written]:
        """The new lines, without an end; logs may appear and go meanwhile."""
        while True:
            for _ in range(_POLLS_BEFORE_REFRESH):
                for log in self._logs:
                    yield self._written(log, log.new())
                time.sleep(_POLL_SECONDS)
            self._refresh()

    def _refresh(self) -> None:
        try:
            now = {log.name: log for log in chosen(environment.logs(), self._wanted)}
        except (PreflightError, UsageError):  # torn down: what comes up next is followed again
            now = {}
        known = {log.name: log for log in self._logs}
        # A known one remembers how far it was read.
        self._logs = [known.get(name, log) for name, log in now.items()]
        # A new `up` has new secrets.
        self._hidden = known_secrets(self._env_file)

    def _written(self, log: Log, lines: Sequence[str]) -> Written:
        return Written(
            log.name, [unbroken(without_secrets(line, self._hidden).expandtabs()) for line in lines]
        )


def chosen(logs: Sequence[Log], wanted: str | None) -> Sequence[Log]:
    """The log with exactly that name, else those of the workload; raises UsageError if there is none."""
    if wanted is None:
        return logs
    found = [log for log in logs if log.name == wanted] or [log for log in logs if log.workload == wanted]
    if not found:
        known = sorted({name for log in logs for name in (log.name, log.workload)})
        raise UsageError(f"There is no log of {wanted!r}", hint=f"Choose {', '.join(known)}")
    return found
