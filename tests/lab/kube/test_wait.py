"""A wait ends with success, with the reason that cannot heal, or at its bound; it always says which bound."""

from collections.abc import Iterator

import pytest

from workshop.core.errors import DeadlineError, WorkshopError
from workshop.lab.kube.client import Diagnosis, bound, wait_for
from workshop.lab.kube.connection import UnreachableError


def found() -> Diagnosis:
    return Diagnosis(("first", "second"), "do this")


def run(looks: Iterator[int], notes: list[str], *, seconds: float = 30, settled: int = 1) -> int:
    return wait_for(
        "`it`",
        lambda: next(looks),
        done=lambda seen: seen == 0,
        failed=lambda seen: "broken" if seen < 0 else "",
        seconds=seconds,
        note=notes.append,
        state=lambda seen: f"{seen} left",
        diagnose=found,
        settled=settled,
        look_seconds=0.001,
    )


def test_it_looks_until_it_is_done_and_reports_how_it_stands_each_time() -> None:
    notes: list[str] = []
    assert run(iter([2, 1, 0]), notes) == 0
    assert notes == ["2 left, at most 30 s", "1 left, at most 30 s", "0 left"]


def test_what_has_to_settle_is_looked_at_again() -> None:
    notes: list[str] = []
    assert run(iter([0, 1, 0, 0]), notes, settled=2) == 0
    assert len(notes) == 4


def test_a_reason_that_cannot_heal_ends_it_with_the_diagnosis() -> None:
    with pytest.raises(WorkshopError) as caught:
        run(iter([1, -1]), [])
    assert (caught.value.what, caught.value.why, caught.value.hint) == (
        "`it` cannot become ready: broken",
        "first\nsecond",
        "do this",
    )
    assert caught.value.exit_code == 1


def test_its_bound_ends_it_with_the_diagnosis() -> None:
    with pytest.raises(DeadlineError, match="`it` was not ready within 0 s") as caught:
        run(iter([1] * 10_000), [], seconds=0.02)
    assert caught.value.why == "first\nsecond"


def test_a_cluster_out_of_reach_is_waited_for_but_not_for_ever() -> None:
    answers = iter([False, False, True])
    notes: list[str] = []

    def look() -> bool:
        if not next(answers, False):
            raise UnreachableError("no answer")
        return True

    def ask(unreachable_seconds: float) -> bool:
        return wait_for(
            "`it`",
            look,
            done=bool,
            failed=lambda _: "",
            seconds=30,
            note=notes.append,
            look_seconds=0.001,
            unreachable_seconds=unreachable_seconds,
        )

    assert ask(30)
    assert notes == ["the cluster does not answer, at most 30 s"] * 2 + [""]
    with pytest.raises(UnreachableError):
        ask(0.01)


def test_a_note_that_raises_ends_it() -> None:
    def stop(_: str) -> None:
        raise WorkshopError("Stopped")

    with pytest.raises(WorkshopError, match="Stopped"):
        wait_for("`it`", lambda: 1, done=lambda _: False, failed=lambda _: "", seconds=30, note=stop)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(30, "at most 30 s"), (119, "at most 119 s"), (120, "at most 2 min"), (450, "at most 7.5 min")],
)
def test_a_bound_is_reported_in_words(seconds: float, told: str) -> None:
    assert bound(seconds) == told
