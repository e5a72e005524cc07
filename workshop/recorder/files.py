"""A trace as a file, in our own JSON format, HTML or HAR (HTTP Archive), and as text for a terminal."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

from workshop import __version__
from workshop.core.errors import UsageError, reason
from workshop.core.files import DamagedFileError, read_json
from workshop.core.paths import check_writable, write_result
from workshop.core.text import counted
from workshop.recorder.masking import LABEL, cut
from workshop.recorder.model import FORMAT, VERSION, Comparison, Message, Pairs, Step, Trace
from workshop.recorder.wording import SIGNS, UNEQUAL, UNFOLDED, chapter, span

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MOST_BYTES = 64 * 1024 * 1024
_NOT_KNOWN = -1
"""HAR's value for a duration or size that is not known."""
_LONGEST = 100
"""Characters of a value in a terminal."""


def to_json(trace: Trace) -> str:
    """Return the trace in our own JSON format, which `trace explain` and `trace render` read."""
    return json.dumps(asdict(trace), indent=1, ensure_ascii=False) + "\n"


def _to_html(trace: Trace) -> str:
    from workshop.recorder.page import to_html

    return to_html(trace)


def to_har(trace: Trace) -> str:
    """Return the trace as HAR 1.2, one entry for each request that was sent; own fields begin with `_`."""
    # An answer from the agent's cache was never sent.
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
            # HAR 1.2 allows -1 for the other times only.
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
        # Cookies are among the headers, with their values as labels.
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
        "comment": "" if step.status is not None else "The agent cannot see the response",
    }


def _content(message: Message) -> dict[str, Any]:
    # Chrome's HAR files have `x-unknown` where no media type is known.
    content = {"size": message.size, "mimeType": message.media_type or "x-unknown"}
    return {**content, "text": message.body, "comment": "masked"} if message.body else content


def _pairs(headers: Pairs) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers]


def _bare_labels(text: str) -> str:
    """Remove the brackets of labels; a URL must not contain them."""
    return LABEL.sub(r"\1-\2", text)


WRITERS: dict[str, Callable[[Trace], str]] = {".html": _to_html, ".json": to_json, ".har": to_har}


def check_targets(paths: Sequence[Path]) -> None:
    """Raise UsageError for a file that cannot be written, before anything runs."""
    for path in paths:
        if path.suffix.lower() not in WRITERS:
            raise UsageError(
                f"Unknown trace format `{path.suffix or path}`",
                why=f"The file extension selects it: {', '.join(WRITERS)}",
                hint="Write `workshop part 4 run --trace trace.html`",
            )
        check_writable(path, "trace")


def write(trace: Trace, path: Path) -> None:
    """Write a trace in the format that the file extension selects; only the owner can read the file."""
    write_result(path, WRITERS[path.suffix.lower()](trace), "trace")


def read(path: Path) -> Trace:
    """Read a trace in our own JSON format. Raises UsageError for any other file."""
    try:
        data = read_json(path, MOST_BYTES)
    except OSError as error:
        raise UsageError(f"Cannot read `{path}`", why=reason(error)) from error
    except DamagedFileError as error:
        raise _not_a_trace(path, str(error)) from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise _not_a_trace(path, f"Its `format` is not `{FORMAT}`")
    if data.get("version") != VERSION:
        raise _not_a_trace(path, "Another version of `workshop` wrote it")
    try:
        return from_data(data)
    except ValueError as error:
        raise _not_a_trace(path, " ".join(str(error).split())[:160]) from error


def from_data(data: Any) -> Trace:  # noqa: ANN401 - checked here
    """Build a trace from plain data. Raises ValueError if the data does not match the model."""
    return _adapter().validate_python(data)


@cache
def _adapter() -> "TypeAdapter[Trace]":
    from pydantic import TypeAdapter

    return TypeAdapter(Trace)


def _not_a_trace(path: Path, why: str) -> UsageError:
    return UsageError(
        f"`{path}` is not a workshop trace",
        why=why,
        hint="`workshop part 4 run --trace trace.json` makes one",
    )


def headline(trace: Trace) -> str:
    """How the run ended, in one line."""
    failed = sum(not one.holds for _, one in trace.comparisons)
    held = f", {failed} do not hold" if failed else ", all hold" if len(trace.comparisons) > 1 else ""
    compared = f"{counted(len(trace.comparisons), 'comparison')}{held}"
    figures = f"{counted(len(trace.steps), 'request')}, {compared}, {span(trace.seconds)}"
    ended = {
        "done": "It worked",
        "failed": f"It failed: {trace.outcome.what}",
        "interrupted": "It was stopped",
    }
    return _plain(f"{trace.title}. {ended[trace.outcome.status]}. {figures}")


def explain(trace: Trace) -> list[str]:
    """The whole trace as lines of text; labels are written as `<kind-number>`."""
    return [_plain(line) for line in _lines(trace)]


def _lines(trace: Trace) -> Iterator[str]:
    begun = ""
    for step in trace.steps:
        heading = chapter(step.kind, step.phase)
        if heading != begun and step.inside is None:
            begun = heading
            yield from ("", f"── {heading} ──")
        yield from _step(trace, step)
    yield from ("", *trace.closing)
    if trace.unseen:
        yield from ("", "Not recorded:", *(f"  {text}" for text in trace.unseen))


def _step(trace: Trace, step: Step) -> Iterator[str]:
    indent = "      " if step.inside is None else "        "
    yield from (f"      ({note})" for note in step.before)
    number = f"{step.number:>3}" if step.inside is None else f"  {step.number:>3}"
    yield f"{number}   {step.title}"
    sender, receiver = trace.party(step.sender).name, trace.party(step.receiver).name
    answered = f" → {step.status} {step.reason}".rstrip() if step.status is not None else ""
    took = f", {span(step.seconds)}" if step.seconds is not None else ""
    yield f"{indent}{sender} → {receiver}: {step.method} {step.path}{answered}{took}"
    yield f"{indent}{step.sentence}"
    if step.kind in UNFOLDED:
        yield from (f"{indent}· {name}: {cut(value, _LONGEST)}" for name, value in step.facts)
    yield from (f"{indent}{_comparison(one)}" for one in step.comparisons)
    if step.claims:
        named = ", ".join(
            f"{name}={step.claims.payload[name]}" for name in ("iss", "aud") if name in step.claims.payload
        )
        yield f"{indent}{step.claims.label} states: {named}"
    if step.references:
        yield f"{indent}[{'; '.join(step.references)}]"


def _comparison(one: Comparison) -> str:
    mark, signs = ("✓", SIGNS) if one.holds else ("✗", UNEQUAL)
    left, right = cut(one.left, _LONGEST), cut(one.right, _LONGEST)
    compared = f"{one.left_name}: {left}  {signs[one.relation]}  {one.right_name}: {right}"
    return f"{mark} {compared}  [{one.reference}]"


def _plain(line: str) -> str:
    return LABEL.sub(r"<\1-\2>", line)
