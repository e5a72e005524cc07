"""A trace as HAR 1.2, for the tools that read that; secrets are labels there too."""

import json
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from workshop import __version__
from workshop.recorder.labels import LABEL
from workshop.recorder.model import Message, Pairs, Step, Trace

_NOT_KNOWN = -1


def to_har(trace: Trace) -> str:
    """One entry a hop; fields of our own begin with an underscore, as HAR asks."""
    entries = [_entry(trace, step) for step in trace.steps if step.seen_by != "memory"]
    creator = {"name": "workshop", "version": __version__}
    log = {"version": "1.2", "creator": creator, "pages": [], "entries": entries, "comment": trace.title}
    return json.dumps({"log": log}, indent=1, ensure_ascii=False) + "\n"


def _entry(trace: Trace, step: Step) -> dict[str, Any]:
    started = datetime.fromisoformat(trace.began) + timedelta(seconds=step.at)
    wait = None if step.wait is None else step.wait * 1000
    whole = 0.0 if step.seconds is None else step.seconds * 1000
    receive = 0.0 if wait is None else max(0.0, whole - wait)
    return {
        "startedDateTime": started.isoformat(timespec="milliseconds"),
        "time": round(whole, 1),
        "request": _request(step),
        "response": _response(step),
        "cache": {},
        "timings": {
            "blocked": _NOT_KNOWN,
            "dns": _NOT_KNOWN,
            "connect": _NOT_KNOWN,
            "send": 0,
            "wait": round(wait if wait is not None else 0.0, 1),
            "receive": round(receive, 1),
            "ssl": _NOT_KNOWN,
        },
        "comment": f"{step.number}. {step.title}. {step.sentence}",
        "_from": trace.party(step.sender).name,
        "_to": trace.party(step.receiver).name,
        "_seenBy": step.seen_by,
    }


def _request(step: Step) -> dict[str, Any]:
    url = _bare_labels(step.url)
    query = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    request: dict[str, Any] = {
        "method": step.method,
        "url": quote(url, safe=":/?#[]@!$&'()*+,;=%~"),
        "httpVersion": step.http_version,
        "cookies": [],
        "headers": _pairs(step.request.headers),
        "queryString": [{"name": name, "value": value} for name, value in query],
        "headersSize": _NOT_KNOWN,
        "bodySize": step.request.size,
    }
    if step.request.body:
        text = {"mimeType": step.request.media_type, "text": step.request.body}
        request["postData"] = {**text, "comment": "masked"}
    return request


def _response(step: Step) -> dict[str, Any]:
    message = step.response
    return {
        "status": step.status or 0,
        "statusText": step.reason,
        "httpVersion": step.http_version,
        "cookies": [],
        "headers": _pairs(message.headers),
        "content": _content(message),
        "redirectURL": next(
            (_bare_labels(value) for name, value in message.headers if name.lower() == "location"), ""
        ),
        "headersSize": _NOT_KNOWN,
        "bodySize": message.size if step.seen_by == "agent" else _NOT_KNOWN,
        "comment": "" if step.status is not None else "The answer cannot be seen from the agent",
    }


def _content(message: Message) -> dict[str, Any]:
    content = {"size": message.size, "mimeType": message.media_type or "x-unknown"}
    return {**content, "text": message.body, "comment": "masked"} if message.body else content


def _pairs(headers: Pairs) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers]


def _bare_labels(text: str) -> str:
    """Labels without their brackets, which a URL cannot have."""
    return LABEL.sub(r"\1-\2", text)
