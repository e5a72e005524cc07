"""What the probe checks; `CHECKS` is in the order of the report."""

from workshop.audit.probe.checks import endpoints, metadata, tokens, transport
from workshop.audit.probe.model import Check

CHECKS: tuple[Check, ...] = (
    *tokens.WITHOUT_LOGIN,
    *metadata.CHECKS,
    *endpoints.CHECKS,
    *transport.CHECKS,
    *tokens.WITH_LOGIN,
)
