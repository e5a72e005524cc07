"""The errors a person can act on; each family owns one exit code.

WorkshopError            1    a step failed
├── UsageError           2    the command, `.env` or a manifest is wrong
├── PreflightError       3    a tool is missing, a port is taken
├── CredentialsError     4    credentials are missing or were refused
├── DeadlineError        5    something did not answer in time
├── CheckError           6    a learner's check has not passed
└── InterruptError     130    Ctrl-C
"""


class WorkshopError(Exception):
    """A failure shown in at most six lines: what happened, why, and what to do."""

    exit_code = 1
    code = "step-failed"

    def __init__(self, what: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint

    @property
    def sentence(self) -> str:
        """What happened and why, where there is one line for it."""
        return ". ".join(filter(None, (self.what, self.why)))

    @property
    def in_full(self) -> str:
        """What happened, why, and what to do, where there is one line for it."""
        return ". ".join(filter(None, (self.what, self.why, self.hint)))


class UsageError(WorkshopError):
    """The command line, `.env` or a manifest is not valid."""

    exit_code = 2
    code = "usage"


class PreflightError(WorkshopError):
    """This machine is not ready: a tool is missing or a port is taken."""

    exit_code = 3
    code = "preflight"


class CredentialsError(WorkshopError):
    """Credentials are missing or were refused, or the person denied access."""

    exit_code = 4
    code = "credentials"


class DeadlineError(WorkshopError):
    """Something did not answer within its time limit."""

    exit_code = 5
    code = "deadline"


class CheckError(WorkshopError):
    """A learner's check has not passed."""

    exit_code = 6
    code = "check"


INTERRUPTED = 130


class InterruptError(WorkshopError):
    """The person pressed Ctrl-C, or the parent process sent a signal."""

    exit_code = INTERRUPTED
    code = "interrupted"


def reason(error: Exception) -> str:
    """Why something failed, without the number and the path that Python puts around the system's words."""
    words = error.strerror if isinstance(error, OSError) else None
    return words or str(error) or type(error).__name__


def code_of(exit_code: int) -> str:
    """The error code that `--json` shows for an exit code."""
    families = {family.exit_code: family for family in WorkshopError.__subclasses__()}
    return families.get(exit_code, WorkshopError).code
