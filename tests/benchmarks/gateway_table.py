"""The gateway benchmark's figures as a table, each bar beside its figure, and ours beside ToolHive's."""

import statistics
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tests.benchmarks.gateway_load import LEGACY, MODERN
from tests.benchmarks.gateway_login import Handshake
from tests.benchmarks.gateway_measure import KINDS, Report, Start
from tests.benchmarks.gateway_paths import TOOLHIVE

FIGURES = {
    "p50, ms": "p50",
    "p99, ms": "p99",
    "calls/s, 1 connection": "one",
    "calls/s, all connections": "many",
    "CPU of the process per call, ms": "cpu",
}
STARTS: dict[str, Callable[[Start], float]] = {
    "start to the first 200, s": lambda start: start.seconds,
    "start to the first 200, CPU, s": lambda start: start.cpu,
    "first login after the start, ms": lambda start: start.login.milliseconds,
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
    return f"  {label:<46}" + "".join(f"  {cell:>12}" for cell in cells)


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

    for label, of_start in STARTS.items():
        yield _line(label, ["", *(f"{_middle(report.starts[name], of_start):.2f}" for name in names)])
    yield _line("RSS after all of this, MB", ["", *(f"{report.megabytes[name]:.0f}" for name in names)])
    for label, taken in (("first login", report.logins.first), ("second login", report.logins.second)):
        yield _line(f"{label}, ms", ["", *(f"{_middle(taken[name], _took):.0f}" for name in names)])
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
    yield _bar(
        "start to the first 200, s",
        _middle(report.starts["ours"], STARTS["start to the first 200, s"]),
        "<=",
        0.5,
    )
    yield _bar("RSS after all of this, MB", report.megabytes["ours"], "<=", 70)
    memory = report.memory
    yield _bar(f"MB grown over {memory.calls} calls", memory.late - memory.early, "<=", _FLAT)
    yield _bar("first login, ms", _middle(report.logins.first["ours"], _took), "<=", 60)
    yield _bar("second login, ms", _middle(report.logins.second["ours"], _took), "<=", 60)
    yield _bar("first login, requests", _requests(report.logins.first["ours"]), "<=", _FIRST_REQUESTS)
    yield _bar("second login, requests", _requests(report.logins.second["ours"]), "<=", _SECOND_REQUESTS)


_BOTH = ("ours", TOOLHIVE)


def _beside(report: Report) -> Iterator[str]:
    """Our gateway beside ToolHive's proxy, row by row."""
    yield _line("Ours beside ToolHive's proxy", ["ours", "ToolHive's", "difference", "quartiles", ""])
    for era in (MODERN, LEGACY):
        yield _pair(f"added p50, ms, {era}", *(_added(report, era, name) for name in _BOTH))
    for label, figure in (("p99, ms", "p99"), ("CPU per call, ms", "cpu")):
        for era in (MODERN, LEGACY):
            yield _pair(f"{label}, {era}", *(report.figures("raw HTTP", era, each, figure) for each in _BOTH))
    for era in (MODERN, LEGACY):
        many = [report.figures("raw HTTP", era, name, "many") for name in _BOTH]
        yield _pair(f"calls/s, {report.connections} connections, {era}", *many, more_is_better=True)
    for label, taken in (("first", report.logins.first), ("second", report.logins.second)):
        yield _pair(f"{label} login, ms", *(list(map(_took, taken[name])) for name in _BOTH))
        yield _pair(f"{label} login, CPU, ms", *([each.cpu for each in taken[name]] for name in _BOTH))
    for label, of_start in STARTS.items():
        yield _pair(label, *(list(map(of_start, report.starts[name])) for name in _BOTH))


def _added(report: Report, era: str, name: str) -> list[float]:
    return [a - b for a, b in report.compared("raw HTTP", era, name, "direct", "p50")]


def _pair(label: str, ours: list[float], theirs: list[float], *, more_is_better: bool = False) -> str:
    """The medians, and the middle half of the differences, round by round.

    "slower" needs three quarters of the rounds; "level" is a difference that the noise may have made.
    """
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    low, middle, high = _quartiles(differences)
    least, lost = (-high, -middle) if more_is_better else (low, middle)
    verdict = "no slower" if lost <= 0 else "slower" if least > 0 else "level"
    cells = [statistics.median(ours), statistics.median(theirs), middle]
    return _line(label, [*(f"{cell:.2f}" for cell in cells), f"{low:.2f}..{high:.2f}", verdict])


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    several = values if len(values) > 1 else values * 2
    low, middle, high = statistics.quantiles(several, n=4, method="inclusive")
    return low, middle, high


def _bar(label: str, figure: float, relation: str, bar: float) -> str:
    met = figure <= bar if relation == "<=" else figure >= bar
    return _line(label, [f"{figure:.2f}", f"{relation} {bar:g}", "met" if met else "not met"])


def _took(handshake: Handshake) -> float:
    return handshake.milliseconds


Measured = TypeVar("Measured")


def _middle(measured: Iterable[Measured], figure: Callable[[Measured], float]) -> float:
    return statistics.median(map(figure, measured))


def _requests(handshakes: list[Handshake]) -> int:
    return max(len(handshake.requests) for handshake in handshakes)
