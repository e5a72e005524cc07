"""All checks, in the order of the report."""

from workshop.probe.checks import access, browser, endpoints, headers, protocol, resource, server, tokens
from workshop.probe.verdicts import Check

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
