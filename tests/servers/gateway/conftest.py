"""The gateway and the practice GitHub, as fixtures."""

from tests.servers.gateway.fixtures import gateway, practice, practice_server

__all__ = ["gateway", "practice", "practice_server"]
