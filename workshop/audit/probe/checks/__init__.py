"""All checks, in the order of the report."""

from workshop.audit.probe.checks import (
    access,
    browser,
    endpoints,
    headers,
    protocol,
    resource,
    server,
    tokens,
)
from workshop.audit.probe.verdicts import Check

CHECKS: tuple[Check, ...] = (
    *access.CHECKS,
    *tokens.CHECKS,
    *resource.CHECKS,
    *server.CHECKS,
    *endpoints.CHECKS,
    *browser.CHECKS,
    *headers.CHECKS,
    *protocol.CHECKS,
)
