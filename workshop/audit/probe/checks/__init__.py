"""All checks, in the order of the report."""

from workshop.audit.probe.checks import access, endpoints, metadata, transport
from workshop.audit.probe.verdicts import Check

CHECKS: tuple[Check, ...] = (*access.CHECKS, *metadata.CHECKS, *endpoints.CHECKS, *transport.CHECKS)
