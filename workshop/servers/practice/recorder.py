"""What the practice GitHub received: the last 500 requests, without a single credential."""

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

MOST = 500


@dataclass(frozen=True, kw_only=True)
class RecordedRequest:
    """One received request; `time` is UTC in ISO 8601, `status` what was answered (None: nothing was)."""

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


class Recorder:
    """Keeps the last requests; older ones are dropped."""

    def __init__(self) -> None:
        self._requests: deque[RecordedRequest] = deque(maxlen=MOST)
        self._number = 0

    def next_number(self) -> int:
        """The number of the request that has just arrived."""
        self._number += 1
        return self._number

    def add(self, request: RecordedRequest) -> None:
        self._requests.append(request)

    def clear(self) -> None:
        self._requests.clear()

    def __len__(self) -> int:
        return len(self._requests)

    def as_json(self) -> list[dict[str, Any]]:
        """The requests in the order they arrived."""
        return [asdict(request) for request in sorted(self._requests, key=lambda request: request.number)]


async def read_requests(url: str) -> list[RecordedRequest]:
    """The requests the practice GitHub at `url` recorded. Raises httpx2.HTTPError when it does not answer."""
    import httpx2

    async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        response = await client.get("/practice/requests")
        response.raise_for_status()
        return [RecordedRequest(**request) for request in response.json()["requests"]]
