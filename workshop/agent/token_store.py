"""Logins on disk: one file with mode 0600 for each issuer and resource, replaced atomically."""

import contextlib
import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

from filelock import AsyncFileLock, Timeout
from mcp.shared.auth import OAuthClientInformationFull, OAuthMetadata, OAuthToken, ProtectedResourceMetadata
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workshop.agent.documents import Document
from workshop.agent.events import Observer, Warned, ignore
from workshop.core.errors import DeadlineError, WorkshopError
from workshop.core.paths import make_private_dir, write_private

_LOCK_SECONDS = 30


class Login(BaseModel):
    """Everything a later run needs to use or refresh a login without a person."""

    model_config = ConfigDict(frozen=True)

    version: int = 1
    resource: str
    """URL of the MCP server, as the agent addresses it."""
    issuer: str
    saved_at: float = Field(default_factory=time.time)
    client: OAuthClientInformationFull
    authorization_server: OAuthMetadata
    protected_resource: ProtectedResourceMetadata | None = None
    documents: dict[str, Document] = Field(default_factory=dict)
    tokens: OAuthToken | None = Field(default=None, repr=False)
    expires_at: float | None = None
    """When the access token ends, in seconds since the epoch; None if the server did not state it."""


class TokenStore:
    """Stores logins in a directory; a damaged file is ignored, with a warning."""

    def __init__(self, directory: Path, observe: Observer = ignore) -> None:
        self._directory = directory
        self._observe = observe

    def path(self, issuer: str, resource: str) -> Path:
        """The file of one login; its name reveals neither issuer nor resource."""
        name = hashlib.sha256(f"{issuer}\n{resource}".encode()).hexdigest()[:32]
        return self._directory / f"{name}.json"

    def all(self) -> list[Login]:
        """All stored logins."""
        return [login for path in sorted(self._directory.glob("*.json")) if (login := self._read(path))]

    def get(self, issuer: str, resource: str) -> Login | None:
        """The login at this issuer for this MCP server, as it is on disk at the moment."""
        return self._read(self.path(issuer, resource))

    def find(self, resource: str) -> Login | None:
        """The latest login for this MCP server, from any issuer."""
        mine = [login for login in self.all() if login.resource == resource]
        return max(mine, key=lambda login: login.saved_at, default=None)

    def save(self, login: Login) -> None:
        """Write a login; raises WorkshopError if the file cannot be written."""
        path = self.path(login.issuer, login.resource)
        try:
            write_private(path, login.model_dump_json(exclude_none=True).encode())
        except OSError as error:
            raise WorkshopError(
                f"Cannot store the login in `{path}`", why=error.strerror or str(error)
            ) from error

    def forget(self, resource: str) -> None:
        """Remove every login for this MCP server."""
        for path in sorted(self._directory.glob("*.json")):
            login = self._read(path)
            if login and login.resource == resource:
                path.unlink(missing_ok=True)

    def remove(self, login: Login) -> None:
        """Remove this login."""
        self.path(login.issuer, login.resource).unlink(missing_ok=True)

    @contextlib.asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        """Lock the store against other processes: of two that refresh one token, the second would lose it.

        Raises DeadlineError if another process holds the lock for half a minute.
        """
        make_private_dir(self._directory)
        guard = AsyncFileLock(self._directory / ".lock", timeout=_LOCK_SECONDS)
        try:
            async with guard:
                yield
        except Timeout as error:
            raise DeadlineError(
                "Another run is still refreshing the same login",
                why=f"It has held `{guard.lock_file}` for {_LOCK_SECONDS} seconds",
                hint="End it, and run this again",
            ) from error

    def _read(self, path: Path) -> Login | None:
        try:
            return Login.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is damaged or from another version"
            self._observe(Warned(f"The stored login `{path}` is not used: {why}"))
            return None
