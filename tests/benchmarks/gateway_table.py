"""The gateway benchmark's figures as a table, each bar beside its figure, and ours beside ToolHive's."""

import statistics
from collections.abc import Iterator

from tests.benchmarks.gateway_load import LEGACY, MODERN
from tests.benchmarks.gateway_login import Handshake
from tests.benchmarks.gateway_measure import KINDS, Report
from tests.benchmarks.gateway_paths import TOOLHIVE

FIGURES = {
    "p50, ms": "p50",
    "p99, ms": "p99",
    "calls/s, 1 connection": "one",
    "calls/s, all connections": "many",
    "CPU of the process per call, ms": "cpu",
}
# To the answer of the first call: challenge, two documents, registration, the pages of the person's browser
# (authorize, consent, callback), token, call. The second time all but documents and registration.
_FIRST_REQUESTS, _SECOND_REQUESTS = 9, 6
_FLAT = 2.0


def table(report: Report) -> str:
    """What to print."""
    beside = ["", *_beside(report)] if TOOLHIVE in report.names else []
    return "\n".join([*_calls(report), "", *_processes(report), "", *_bars(report), *beside])


def _line(label: str, cells: list[str]) -> str:
    return f"  {label:<46}" + "".join(f"{cell:>12}" for cell in cells)


def _calls(report: Report) -> Iterator[str]:
    paths = ["direct", *report.names]
    for client, era in KINDS:
        yield f"{client}, {era}, {report.connections} connections"
        yield _line("", paths)
        for label, figure in FIGURES.items():
            yield _line(label, [f"{report.middle(client, era, path, figure):.2f}" for path in paths])
        yield _line("wrong answers", [str(report.wrong(client, era, path)) for path in paths])


def _processes(report: Report) -> Iterator[str]:
    names = list(report.names)
    yield _line("", ["", *names])

    starts = [f"{statistics.median(report.starts[name]):.2f}" for name in names]
    yield _line("start to the first 200, s", ["", *starts])
    yield _line("RSS after all of this, MB", ["", *(f"{report.megabytes[name]:.0f}" for name in names)])
    for label, taken in (("first login", report.logins.first), ("second login", report.logins.second)):
        yield _line(f"{label}, ms", ["", *(f"{_milliseconds(taken[name]):.0f}" for name in names)])
        # ToolHive's proxy writes no line for a request.
        yield _line(f"{label}, requests", ["", *(f"{_requests(taken[name]) or '-'}" for name in names)])


def _bars(report: Report) -> Iterator[str]:
    yield _line("Bars for ours", ["figure", "bar", ""])
    yield _bar("wrong answers", sum(report.wrong(*kind, "ours") for kind in KINDS), "<=", 0)
    for client, era in KINDS:
        if client == "raw HTTP":
            pairs = report.compared(client, era, "ours", "direct", "p50")
            added = statistics.median(ours - direct for ours, direct in pairs)
            yield _bar(f"added p50, ms, {era}", added, "<=", 0.6)
            pairs = report.compared(client, era, "ours", "direct", "p99")
            yield _line(f"added p99, ms, {era}", [f"{statistics.median(a - b for a, b in pairs):.2f}", "-"])
    for client, era in KINDS:
        pairs = report.compared(client, era, "ours", "direct", "one")
        share = statistics.median(ours / direct * 100 for ours, direct in pairs)
        yield _bar(f"% of direct, 1 conn., {client[:3]} {era}", share, ">=", 90)
    for era in (MODERN, LEGACY):
        for peer in report.names[1:]:
            pairs = report.compared("raw HTTP", era, "ours", peer, "many")
            times = statistics.median(ours / other for ours, other in pairs)
            label = f"times the {peer}, {report.connections} conn., {era}"
            # The bar is for the peer as people set it up.
            yield _bar(label, times, ">=", 10) if peer == "peer" else _line(label, [f"{times:.2f}", "-"])
    yield _bar("start to the first 200, s", statistics.median(report.starts["ours"]), "<=", 0.5)
    yield _bar("RSS after all of this, MB", report.megabytes["ours"], "<=", 70)
    memory = report.memory
    yield _bar(f"MB grown over {memory.calls} calls", memory.late - memory.early, "<=", _FLAT)
    yield _bar("first login, ms", _milliseconds(report.logins.first["ours"]), "<=", 60)
    yield _bar("second login, ms", _milliseconds(report.logins.second["ours"]), "<=", 60)
    yield _bar("first login, requests", _requests(report.logins.first["ours"]), "<=", _FIRST_REQUESTS)
    yield _bar("second login, requests", _requests(report.logins.second["ours"]), "<=", _SECOND_REQUESTS)


def _beside(report: Report) -> Iterator[str]:
    """Our gateway beside ToolHive's proxy, row by row."""
    yield _line("Ours beside ToolHive's proxy", ["ours", "ToolHive's", ""])
    for era in (MODERN, LEGACY):
        added = [
            statistics.median(a - b for a, b in report.compared("raw HTTP", era, name, "direct", "p50"))
            for name in ("ours", TOOLHIVE)
        ]
        yield _pair(f"added p50, ms, {era}", *added)
    for era in (MODERN, LEGACY):
        cpu = [report.middle("raw HTTP", era, name, "cpu") for name in ("ours", TOOLHIVE)]
        yield _pair(f"CPU per call, ms, {era}", *cpu)
    for era in (MODERN, LEGACY):
        many = [report.middle("raw HTTP", era, name, "many") for name in ("ours", TOOLHIVE)]
        yield _pair(f"calls/s, {report.connections} connections, {era}", *many, more_is_better=True)
    for label, taken in (("first", report.logins.first), ("second", report.logins.second)):
        yield _pair(f"{label} login, ms", *(_milliseconds(taken[name]) for name in ("ours", TOOLHIVE)))


def _pair(label: str, ours: float, theirs: float, *, more_is_better: bool = False) -> str:
    no_slower = ours >= theirs if more_is_better else ours <= theirs
    return _line(label, [f"{ours:.2f}", f"{theirs:.2f}", "no slower" if no_slower else "slower"])


def _bar(label: str, figure: float, relation: str, bar: float) -> str:
    met = figure <= bar if relation == "<=" else figure >= bar
    return _line(label, [f"{figure:.2f}", f"{relation} {bar:g}", "met" if met else "not met"])


def _milliseconds(handshakes: list[Handshake]) -> float:
    return statistics.median(handshake.milliseconds for handshake in handshakes)


def _requests(handshakes: list[Handshake]) -> int:
    return max(len(handshake.requests) for handshake in handshakes)
