"""Traces on disk: our own format and back, HAR as its specification has it, and files that are neither."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.cli.conftest import Workshop
from workshop.core.errors import UsageError
from workshop.recorder import files
from workshop.recorder.wording import span

SAMPLE = Path(__file__).with_name("sample.json")


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """An object with these members; others begin with an underscore, as HAR 1.2 says of custom fields."""
    optional |= {"comment": {"type": "string"}}
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **optional},
        "patternProperties": {"^_": {}},
        "additionalProperties": False,
    }


TEXT, NUMBER, WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}
ADDRESS = {"type": "string", "pattern": r"^https?://[\x21-\x7e]+$"}
PAIRS = {"type": "array", "items": _object({"name": TEXT, "value": TEXT})}
KNOWN = {"type": "number", "minimum": 0}
MAYBE = {"type": "number", "minimum": -1}
SIZES = {"headersSize": WHOLE, "bodySize": WHOLE}
REQUEST = _object(
    {
        "method": TEXT,
        "url": ADDRESS,
        "httpVersion": TEXT,
        "cookies": PAIRS,
        "headers": PAIRS,
        "queryString": PAIRS,
        **SIZES,
    },
    postData=_object({"mimeType": TEXT, "text": TEXT}),
)
RESPONSE = _object(
    {
        "status": WHOLE,
        "statusText": TEXT,
        "httpVersion": TEXT,
        "cookies": PAIRS,
        "headers": PAIRS,
        "content": _object({"size": WHOLE, "mimeType": TEXT}, text=TEXT),
        "redirectURL": TEXT,
        **SIZES,
    }
)
TIMINGS = _object(
    {"send": KNOWN, "wait": KNOWN, "receive": KNOWN}, blocked=MAYBE, dns=MAYBE, connect=MAYBE, ssl=MAYBE
)
ENTRY = _object(
    {
        "startedDateTime": {
            "type": "string",
            "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:\d\d)$",
        },
        "time": KNOWN,
        "request": REQUEST,
        "response": RESPONSE,
        "cache": _object({}),
        "timings": TIMINGS,
    }
)
HAR = _object(
    {
        "log": _object(
            {
                "version": {"const": "1.2"},
                "creator": _object({"name": TEXT, "version": TEXT}),
                "entries": {"type": "array", "items": ENTRY},
            },
            pages={"type": "array"},
        )
    }
)


def test_our_own_format_comes_back_as_it_was(tmp_path: Path) -> None:
    trace = files.read(SAMPLE)
    files.write(trace, tmp_path / "again.json")
    assert files.read(tmp_path / "again.json") == trace
    assert (tmp_path / "again.json").stat().st_mode & 0o077 == 0


def test_a_har_is_as_specified() -> None:
    trace = files.read(SAMPLE)
    har = json.loads(files.WRITERS[".har"](trace))
    jsonschema.validate(har, HAR)
    entries = har["log"]["entries"]
    assert len(entries) == len(trace.steps)
    for entry in entries:
        timings = entry["timings"]
        parts = timings["send"] + timings["wait"] + timings["receive"]
        assert entry["time"] == pytest.approx(parts, abs=0.11), "HAR: time is the sum of its parts"
    started = [entry["startedDateTime"] for entry in entries]
    assert started == sorted(started)
    callback = next(
        entry for entry in entries if "/callback" in entry["request"]["url"] and entry["_to"] == "Agent"
    )
    assert {"name": "code", "value": "code-2"} in callback["request"]["queryString"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "It is not JSON"),
        ("[" * 100_000, "It is not JSON"),
        ("[]", "Its `format` is not `workshop-trace`"),
        ('{"format": "workshop-trace", "version": 2}', "Another version of `workshop` wrote it"),
        ('{"format": "workshop-trace", "version": 1, "title": 3}', "validation errors for Trace"),
    ],
)
def test_what_is_no_trace_is_refused_with_the_reason(tmp_path: Path, content: str, why: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(UsageError) as caught:
        files.read(path)
    assert why in caught.value.why


def test_a_trace_is_rendered_to_a_page_and_to_a_har(workshop: Workshop, tmp_path: Path) -> None:
    for name in ("a.html", "a.har", "a.json"):
        done = workshop("trace", "render", str(SAMPLE), str(tmp_path / name))
        assert (done.code, done.out.strip()) == (0, f"Written: {tmp_path / name}")
        assert (tmp_path / name).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trace", "explain", "absent.json"], "Cannot read `absent.json`"),
        (["trace", "render", str(SAMPLE), "a.txt"], "Unknown trace format `.txt`"),
        (["trace", "render", str(SAMPLE), "absent/a.html"], "Cannot write the trace to `absent/a.html`"),
        (["part", "1", "run", "--trace", "a.txt"], "Unknown trace format `.txt`"),
        (["part", "1", "run", "--trace", "."], "Unknown trace format `.`"),
    ],
)
def test_a_file_that_cannot_be_is_exit_code_2(workshop: Workshop, arguments: list[str], said: str) -> None:
    done = workshop(*arguments)
    assert done.code == 2
    assert said in done.err
    assert "Connect" not in done.err, "it is said before anything runs"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, ""), (0.0004, "0 ms"), (0.25, "250 ms"), (2.34, "2.3 s"), (61.0, "1 min 1 s")],
)
def test_a_duration_is_readable(seconds: float | None, shown: str) -> None:
    assert span(seconds) == shown
