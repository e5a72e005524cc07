"""What the practice GitHub saw of a run, for the flight recorder: the hops the agent cannot see."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from workshop.core.errors import WorkshopError
from workshop.core.instance import Instance
from workshop.core.interrupts import interrupts
from workshop.lab.base import PRACTICE_GITHUB
from workshop.recorder.hop import UNKNOWN, Hop, Upstream
from workshop.recorder.labels import DIGEST
from workshop.servers.practice.recorder import RecordedRequest, read_requests

_PAGES = "/login/oauth/authorize"
_SAME_MOMENT = timedelta(milliseconds=1)  # the record's times are cut to a millisecond


def upstream_of(instance: Instance) -> Upstream:
    """The upstream of what is up; the practice GitHub keeps a record, the real one does not show its own."""
    url = instance.endpoints.get(PRACTICE_GITHUB)
    if instance.upstream != "practice" or url is None:
        return UNKNOWN
    return practice_upstream(url)


def practice_upstream(url: str) -> Upstream:
    """The practice GitHub at `url` as a witness."""
    return Upstream("Practice GitHub", url, lambda since: _seen(url, since))


def _seen(url: str, since: datetime) -> Sequence[Hop]:
    import httpx2

    try:
        requests = interrupts.run(read_requests(url))
    except httpx2.HTTPError as error:
        raise WorkshopError("its record cannot be read") from error
    return [
        _hop(request, url, since)
        for request in requests
        if datetime.fromisoformat(request.time) >= since - _SAME_MOMENT
    ]


def _hop(request: RecordedRequest, url: str, since: datetime) -> Hop:
    query = f"?{urlencode(_values(request.query))}" if request.query else ""
    hop = Hop(
        sender="browser" if request.path.startswith(_PAGES) else "gateway",
        method=request.method,
        url=f"{url}{request.path}{query}",
        at=(datetime.fromisoformat(request.time) - since).total_seconds(),
        seen_by="upstream",
        request_headers=list(_values(request.headers).items()),
        request_body=urlencode(_values(request.form)).encode(),
        status=request.status,
    )
    if credential := request.authorization:
        hop.credential = (str(credential.get("kind")), str(credential.get("sha256")))
    return hop


def _values(described: Mapping[str, Any]) -> dict[str, str]:
    """Values as text; of a credential there is only its fingerprint."""
    return {name: _value(value) for name, value in described.items()}


def _value(value: object) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    scheme = f"{value['scheme']} " if value.get("scheme") else ""
    return f"{scheme}{DIGEST}{value.get('sha256', '')}"
