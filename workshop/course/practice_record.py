"""What the practice GitHub recorded of each request, for the flight recorder and for the token-swap check."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from workshop.core.errors import CheckError, WorkshopError
from workshop.core.instance import Instance
from workshop.core.interrupts import interrupts
from workshop.core.text import counted
from workshop.lab.base import PRACTICE_GITHUB
from workshop.lab.choose import seat_of
from workshop.recorder.masking import DIGEST
from workshop.recorder.model import UNKNOWN, Request, Upstream
from workshop.servers.practice.client import RecordedRequest, fingerprint, read_requests

API = ("/mcp", "/user", "/repos")
"""Where the practice GitHub requires its own token."""
_OWN = "practice token"
_NONE = "no credential"
_UNAUTHORIZED = 401
_DEFECT = "This is ToolHive issue #6681 in another form: see part 4's lesson"
_PAGES = "/login/oauth/authorize"
_SAME_MOMENT = timedelta(milliseconds=1)  # the record's times are cut to a millisecond


def require_token_swap(instance: Instance, since: datetime | None = None) -> str:
    """The result of the token-swap check of this instance in one sentence; raises as `token_swap` does."""
    github, server = instance.endpoints[PRACTICE_GITHUB], instance.endpoints["github-remote"]
    return token_swap(github, server, instance.logins, since=since, key=_record_key(instance))


def token_swap(
    github: str,
    server: str,
    logins: Path,
    api: tuple[str, ...] = ("/mcp",),
    *,
    since: datetime | None = None,
    key: str = "",
) -> str:
    """Compare what the practice GitHub at `github` received with the agent's login at `server`.

    Only requests `since` that moment count. Returns the result in one sentence. Raises WorkshopError if the
    record cannot be read, and CheckError unless every request below the paths `api` carried
    a token of the practice GitHub, and none the agent's. A wrong credential of a person's own, which the
    practice GitHub has refused, proves nothing about the proxy, so it does not count. One that serves a whole
    class needs the `key` of this instance's record.
    """
    from workshop.agent.token_store import TokenStore  # with the MCP SDK, which part 1 runs without

    login = TokenStore(logins).find(server)
    login_token = fingerprint(login.tokens.access_token) if login and login.tokens else ""
    requests = [one for one in _read(github, key, login_token) if since is None or _is_after(one, since)]
    if not login_token:
        raise CheckError("The agent has no stored login to compare with")
    calls = [request for request in requests if request.path.startswith(api)]
    # The agent's token anywhere is the worst case, so it is reported before all others.
    if any(login_token in str(request.headers) for request in requests):
        raise CheckError("The agent's own token reached the practice GitHub", hint=_DEFECT)
    if not calls:
        raise CheckError(f"The practice GitHub received no request for {', '.join(api)}")
    own = [request for request in calls if _kind(request) == _OWN]
    for request in calls:
        if request not in own and not _is_refused_mistake(request):
            raise CheckError(
                f"The practice GitHub received `{_kind(request)}`, not its own token", hint=_DEFECT
            )
    if not own:
        raise CheckError(
            "The practice GitHub has refused every credential that it received",
            hint="Run the part again, with a token of the practice GitHub if you bring your own",
        )
    times = counted(len(own), "time")
    return f"GitHub received token 2 (its own) {times}, and token 1 (the agent's) never"


def _is_after(request: RecordedRequest, since: datetime) -> bool:
    return datetime.fromisoformat(request.time) >= since - _SAME_MOMENT


def _is_refused_mistake(request: RecordedRequest) -> bool:
    """Whether it carried a mistyped token or none, and was refused; a JWT is a proxy's, not a mistake."""
    return _kind(request) in {"other", _NONE} and request.status == _UNAUTHORIZED


def _kind(request: RecordedRequest) -> str:
    return str((request.authorization or {}).get("kind", _NONE))


def upstream_of(instance: Instance) -> Upstream:
    """The upstream of what is up; only the practice GitHub shows what it received."""
    url = instance.endpoints.get(PRACTICE_GITHUB)
    if instance.upstream != "practice" or url is None:
        return UNKNOWN
    return practice_upstream(url, _record_key(instance))


def practice_upstream(url: str, key: str = "") -> Upstream:
    """The practice GitHub at `url` as an upstream that shows its requests, or those of one seat's `key`."""

    def requests_since(since: datetime) -> Sequence[Request]:
        return [_request(one, url, since) for one in _read(url, key) if _is_after(one, since)]

    return Upstream("Practice GitHub", url, requests_since)


def _record_key(instance: Instance) -> str:
    """The key of this instance's record in a room's practice GitHub; empty for one of its own."""
    seat = seat_of(instance.directory)
    return seat.about.practice.record_key if seat and seat.about.practice else ""


def _read(url: str, key: str = "", login_token: str = "") -> Sequence[RecordedRequest]:
    import httpx2

    try:
        return interrupts.run(read_requests(url, key, [login_token] if login_token else []))
    except httpx2.HTTPError as error:
        raise WorkshopError("The record of the practice GitHub cannot be read") from error


def _request(one: RecordedRequest, url: str, since: datetime) -> Request:
    query = f"?{urlencode(_values(one.query))}" if one.query else ""
    # The record does not name the sender, but only a browser opens those pages.
    request = Request(
        sender="browser" if one.path.startswith(_PAGES) else "gateway",
        method=one.method,
        url=f"{url}{one.path}{query}",
        at=(datetime.fromisoformat(one.time) - since).total_seconds(),
        seen_by="upstream",
        request_headers=list(_values(one.headers).items()),
        request_body=urlencode(_values(one.form)).encode(),
        status=one.status,
    )
    if credential := one.authorization:
        request.credential = (str(credential.get("kind")), str(credential.get("sha256")))
    return request


def _values(described: Mapping[str, Any]) -> dict[str, str]:
    """Values as text; of a credential there is only its fingerprint."""
    return {name: _value(value) for name, value in described.items()}


def _value(value: object) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    scheme = f"{value['scheme']} " if value.get("scheme") else ""
    return f"{scheme}{DIGEST}{value.get('sha256', '')}"
