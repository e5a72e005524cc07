"""The practice GitHub's client for other packages: its recorded requests, and tokens that it accepts."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from workshop.core.encoding import parse_json
from workshop.servers.practice.tokens import Tokens


@dataclass(frozen=True, kw_only=True)
class RecordedRequest:
    """One received request; `time` is UTC in ISO 8601, `status` is None if there was no answer."""

    number: int
    time: str
    method: str
    path: str
    query: Mapping[str, Any]
    headers: Mapping[str, Any]
    form: Mapping[str, Any]
    status: int | None

    @property
    def authorization(self) -> Mapping[str, Any] | None:
        """The description of the Authorization header: scheme, kind, user, sha256."""
        described = self.headers.get("authorization")
        return described if isinstance(described, Mapping) else None


def fingerprint(value: str) -> str:
    """The SHA-256 of a credential in hexadecimal digits: enough to compare two credentials."""
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()


def access_token(client_secret: str, login: str, scopes: tuple[str, ...]) -> str:
    """A token of this user that the practice GitHub with this client secret accepts, without any login."""
    return Tokens(client_secret).issue(login, scopes)


async def read_requests(url: str, key: str = "", fingerprints: Collection[str] = ()) -> list[RecordedRequest]:
    """The requests that the practice GitHub at `url` recorded.

    One with seats shows those of one seat, for its record `key`, and every other request that had a
    credential with one of these fingerprints.
    Raises httpx2.HTTPError if it does not answer, or if another program answers.
    """
    import httpx2

    from workshop.core.http_client import open_local_client

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with open_local_client(base_url=url, headers=headers) as client:
        response = await client.get("/practice/requests", params={"sha256": list(fingerprints)})
        response.raise_for_status()
        try:
            return [RecordedRequest(**request) for request in parse_json(response.content)["requests"]]
        except (ValueError, LookupError, TypeError) as error:
            raise httpx2.DecodingError(f"{url} did not answer with a list of requests") from error
