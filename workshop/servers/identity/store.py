"""The provider's store: the gateway's, and the clients of the configuration."""

from collections.abc import Mapping

from workshop.auth.records import Client
from workshop.auth.store_sqlite import SqliteStore
from workshop.auth.vault import Vault


class IdentityStore(SqliteStore):
    """Clients of the configuration are never written down: taken out of it, they are gone."""

    def __init__(self, path: str, vault: Vault, clients: Mapping[str, Client]) -> None:
        super().__init__(path, vault)
        self._clients = clients

    def client(self, client_id: str, now: float) -> Client | None:
        return self._clients.get(client_id) or super().client(client_id, now)
