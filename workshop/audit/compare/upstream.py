"""What the practice GitHub recorded, read for credentials: which came, whose, and whether one was ours."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime

from workshop.audit.compare.evidence import Asked
from workshop.servers.practice.client import RecordedRequest, fingerprint

_OAUTH = "/login/"
_EXCHANGE = "/login/oauth/access_token"
_OK = 200


def moment(request: RecordedRequest) -> float:
    """When a request came, in seconds since the epoch."""
    return datetime.fromisoformat(request.time).timestamp()


def exchanges(requests: Sequence[RecordedRequest]) -> list[RecordedRequest]:
    """The requests that turned a code into a token of GitHub's."""
    return [
        each for each in requests if each.path == _EXCHANGE and "code" in each.form and each.status == _OK
    ]


def calls(requests: Sequence[RecordedRequest]) -> list[RecordedRequest]:
    """The requests to GitHub's API or MCP server that carried a credential and were answered."""
    return [
        each
        for each in requests
        if not each.path.startswith(_OAUTH) and each.authorization and (each.status or 0) < 400  # noqa: PLR2004
    ]


def calls_of_tools(requests: Sequence[RecordedRequest], asked: Asked) -> list[RecordedRequest]:
    """Those that came while the agent's tool calls ran: what a server asks for itself comes before."""
    began = asked.first("ToolCalled")
    # The recorder cuts its times to milliseconds.
    return [each for each in calls(requests) if began is not None and moment(each) >= began - 0.001]


def credentials(requests: Sequence[RecordedRequest]) -> list[str]:
    """The SHA-256 of each credential that GitHub was called with, each once."""
    found = (str((each.authorization or {}).get("sha256", "")) for each in requests)
    return list(dict.fromkeys(one for one in found if one))


def users(requests: Sequence[RecordedRequest]) -> list[str]:
    """Whose credentials they were."""
    found = ((each.authorization or {}).get("user") for each in requests)
    return list(dict.fromkeys(str(one) for one in found if one))


def carrying(requests: Sequence[RecordedRequest], tokens: Collection[str]) -> list[str]:
    """The paths of the requests that had one of these tokens in a header, the query or a form."""
    marks = {mark for token in tokens for mark in (token, fingerprint(token))}
    return [each.path for each in requests if any(mark in json.dumps(asdict(each)) for mark in marks)]
