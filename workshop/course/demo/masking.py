"""Take secrets out of a stream, however it is cut into pieces."""

from collections.abc import Callable, Sequence


class Masked:
    """Passes text on with every secret as `***`; holds back what may be the beginning of one."""

    def __init__(self, secrets: Sequence[str], pass_on: Callable[[str], None]) -> None:
        self._secrets = sorted((secret for secret in secrets if secret), key=len, reverse=True)
        self._pass_on = pass_on
        self._held = ""

    def write(self, text: str) -> None:
        """Take the next piece."""
        self._held += text
        for secret in self._secrets:
            self._held = self._held.replace(secret, "***")
        kept = max((self._beginning(secret) for secret in self._secrets), default=0)
        end = len(self._held) - kept
        if end:
            self._pass_on(self._held[:end])
        self._held = self._held[end:]

    def flush(self) -> None:
        """Pass on what was held back: nothing more comes."""
        if self._held:
            self._pass_on(self._held)
        self._held = ""

    def _beginning(self, secret: str) -> int:
        """How long a beginning of `secret` the held text ends with."""
        longest = min(len(secret) - 1, len(self._held))
        return next((length for length in range(longest, 0, -1) if self._held.endswith(secret[:length])), 0)
