"""Everything one running practice GitHub remembers, in one place, and how to forget it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.requests import HTTPConnection

from workshop.servers.practice import data
from workshop.servers.practice.authorizations import Authorizations
from workshop.servers.practice.catalog import Catalog
from workshop.servers.practice.config import PracticeConfig
from workshop.servers.practice.faults import Faults
from workshop.servers.practice.ratelimits import RateLimits
from workshop.servers.practice.recorder import Recorder
from workshop.servers.practice.tokens import Tokens

WRONG_USER: Final = "practice.wrong_user"


@dataclass
class PracticeState:
    """The parts of the practice GitHub; all in memory, tokens alone outlive a restart."""

    config: PracticeConfig
    catalog: Catalog
    tokens: Tokens
    authorizations: Authorizations
    faults: Faults
    recorder: Recorder
    rate_limits: RateLimits
    skip_consent: bool = False

    @classmethod
    def fresh(cls, config: PracticeConfig, clock: Callable[[], float] = time.time) -> "PracticeState":
        """A practice GitHub that nobody has used yet; `clock` gives seconds since the epoch."""
        return cls(
            config=config,
            catalog=Catalog(data.load()),
            tokens=Tokens(config.client_secret),
            authorizations=Authorizations(clock),
            faults=Faults(),
            recorder=Recorder(),
            rate_limits=RateLimits(clock),
        )

    def reset(self) -> None:
        """Forget faults, tokens, approvals, changes of the data and recorded requests."""
        self.skip_consent = False
        self.faults.clear()
        self.tokens.revoke()
        self.authorizations.clear()
        self.catalog.restore()
        self.recorder.clear()
        self.rate_limits.clear()

    def acting(self, request: HTTPConnection, login: str) -> str:
        """The user a request really acts for: another one while the fault `wrong_user` is on."""
        if not request.scope.get(WRONG_USER):
            return login
        return next(user.login for user in self.catalog.users if user.login != login)
