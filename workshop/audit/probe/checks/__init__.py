"""What the probe checks; `CHECKS` is in the order of the report."""

from workshop.audit.probe.checks import access, endpoints, metadata, signed, transport
from workshop.audit.probe.model import Check

CHECKS: tuple[Check, ...] = (
    *access.CHECKS,
    *metadata.CHECKS,
    *endpoints.CHECKS,
    *transport.CHECKS,
    *signed.CHECKS,
)
