"""A trace explained in the terminal: each hop with a sentence, its comparisons, and its references."""

from collections.abc import Iterator

from workshop.recorder.labels import LABEL
from workshop.recorder.masking import cut
from workshop.recorder.model import Comparison, Step, Trace
from workshop.recorder.wording import PHASES, SAID, SIGNS, UNEQUAL, counted, span

_LONGEST = 100


def headline(trace: Trace) -> str:
    """How the run ended, in a line."""
    failed = sum(not one.holds for _, one in trace.comparisons)
    held = f", {failed} do not hold" if failed else ", all hold" if len(trace.comparisons) > 1 else ""
    compared = f"{counted(len(trace.comparisons), 'comparison')}{held}"
    figures = f"{counted(len(trace.steps), 'hop')}, {compared}, {span(trace.seconds)}"
    ended = {
        "done": "It worked",
        "failed": f"It failed: {trace.outcome.what}",
        "interrupted": "It was stopped",
    }
    return _plain(f"{trace.title}. {ended[trace.outcome.status]}. {figures}")


def explain(trace: Trace) -> list[str]:
    """The lines of the story; labels are written in brackets."""
    return [_plain(line) for line in _lines(trace)]


def _lines(trace: Trace) -> Iterator[str]:
    phase = ""
    for step in trace.steps:
        if step.phase != phase and step.inside is None:
            phase = step.phase
            yield from ("", f"── {PHASES.get(phase, phase)} ──")
        yield from _step(trace, step)
    yield from ("", *trace.closing)
    if trace.unseen:
        yield from ("", "Not seen from here:", *(f"  {text}" for text in trace.unseen))


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
    if step.kind in SAID:
        yield from (f"{indent}· {name}: {cut(value, _LONGEST)}" for name, value in step.facts)
    yield from (f"{indent}{_comparison(one)}" for one in step.comparisons)
    if step.claims:
        named = ", ".join(
            f"{name}={step.claims.payload[name]}" for name in ("iss", "aud") if name in step.claims.payload
        )
        yield f"{indent}{step.claims.label} says: {named}"
    if step.references:
        yield f"{indent}[{'; '.join(step.references)}]"


def _comparison(one: Comparison) -> str:
    mark, signs = ("✓", SIGNS) if one.holds else ("✗", UNEQUAL)
    left, right = cut(one.left, _LONGEST), cut(one.right, _LONGEST)
    compared = f"{one.left_name}: {left}  {signs[one.relation]}  {one.right_name}: {right}"
    return f"{mark} {compared}  [{one.reference}]"


def _plain(line: str) -> str:
    return LABEL.sub(r"<\1-\2>", line)
