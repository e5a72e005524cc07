"""The practice GitHub of the gateway's tests, for the load put on a gateway."""

from tests.servers.gateway.fixtures import practice, practice_server

__all__ = ["practice", "practice_server"]
