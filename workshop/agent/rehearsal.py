"""The rehearsal model: it follows a plan or keywords, and states that it is not a language model.

A plan, from `part.toml`, names the tools to call, the parts of their results to keep, and the answer.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, ConfigDict

from workshop.agent.messages import (
    Conversation,
    ModelTurn,
    Question,
    ToolCall,
    ToolReply,
    ToolSpec,
)
from workshop.core.errors import WorkshopError

_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_CHOICES = ("max_by", "min_by", "first", "count")
_NO_OTHER_KEYS = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Keep:
    """One thing to remember of a result.

    `source` is its dotted path there, `where` the values that an entry must have by path, `choice` one of
    `max_by`, `min_by`, `first`, `count` or empty, and `by` the path that the first two compare.
    """

    source: str = ""
    where: Mapping[str, Any] = field(default_factory=dict)
    choice: str = ""
    by: str = ""


def _keep(table: object) -> object:
    """The fields of Keep from `{ from, where, max_by | min_by | first | count }` in `part.toml`."""
    if not isinstance(table, dict):
        raise ValueError("is not a table")  # noqa: TRY004 - pydantic makes its error of a ValueError only
    allowed = ("from", "where", *_CHOICES)
    if unknown := sorted(set(table) - set(allowed)):
        raise ValueError(f"has the unknown key `{unknown[0]}`; allowed are {', '.join(allowed)}")
    chosen = [name for name in _CHOICES if table.get(name)]
    if len(chosen) > 1:
        raise ValueError(f"has more than one of {', '.join(chosen)}")
    choice = chosen[0] if chosen else ""
    by = table[choice] if choice in ("max_by", "min_by") else ""
    return {"source": table.get("from", ""), "where": table.get("where", {}), "choice": choice, "by": by}


@dataclass(frozen=True)
class PlannedCall:
    """A tool, its arguments with `{name.path}` placeholders, and what to keep of its result."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    keep: Mapping[str, Annotated[Keep, BeforeValidator(_keep)]] = field(default_factory=dict)
    __pydantic_config__: ClassVar[ConfigDict] = _NO_OTHER_KEYS


@dataclass(frozen=True)
class Plan:
    """The calls that lead to an answer; used when all `keywords` occur in the question."""

    answer: str
    calls: tuple[PlannedCall, ...] = ()
    keywords: tuple[str, ...] = ()
    __pydantic_config__: ClassVar[ConfigDict] = _NO_OTHER_KEYS


def fill(template: Any, known: Mapping[str, Any]) -> Any:  # noqa: ANN401 - TOML values of any kind
    """Replace every `{path}`; a string that is one placeholder becomes the value, a number stays one."""
    if isinstance(template, dict):
        return {key: fill(value, known) for key, value in template.items()}
    if isinstance(template, list):
        return [fill(value, known) for value in template]
    if not isinstance(template, str):
        return template
    whole = _PLACEHOLDER.fullmatch(template)
    if whole:
        return look_up(known, whole[1])
    return _PLACEHOLDER.sub(lambda match: str(look_up(known, match[1])), template)


def keep_of(data: Any, rule: Keep) -> Any:  # noqa: ANN401 - tool results have any shape
    """The part of a tool's result that `rule` describes; raises WorkshopError if it is missing."""
    value = look_up(data, rule.source)
    if rule.where:
        value = [item for item in _entries(value, rule) if _meets(item, rule.where)]
    if not rule.choice:
        return value
    entries = _entries(value, rule)
    if rule.choice == "count":
        return len(entries)
    if not entries:
        raise WorkshopError("The rehearsal plan found nothing", why=f"`{rule.source}` of the result is empty")
    if rule.choice == "first":
        return entries[0]
    best = max if rule.choice == "max_by" else min
    try:
        return best(entries, key=lambda item: look_up(item, rule.by))
    except TypeError as error:
        raise WorkshopError(f"The rehearsal plan cannot compare by `{rule.by}`", why=str(error)) from error


def look_up(data: Any, path: str) -> Any:  # noqa: ANN401 - tool results have any shape
    """Follow a dotted path through tables and lists; raises WorkshopError with what it found instead."""
    value = data
    for name in path.split(".") if path else ():
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, Sequence) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            raise WorkshopError(
                f"The rehearsal plan asks for `{path}`, which the result lacks", why=_what_is(value)
            )
    return value


def _what_is(value: object) -> str:
    if isinstance(value, Mapping):
        return f"It has: {', '.join(sorted(map(str, value))[:12]) or 'no entries'}"
    return f"It is a {type(value).__name__}"


def _entries(value: object, rule: Keep) -> list[Any]:
    if not isinstance(value, list):
        raise WorkshopError(f"The rehearsal plan expects a list at `{rule.source}`", why=_what_is(value))
    return value


def _meets(item: object, condition: Mapping[str, Any]) -> bool:
    return all(look_up(item, path) == wanted for path, wanted in condition.items())


_WORD = re.compile(r"[a-z0-9]+")
_SMALL_WORDS = frozenset(
    _WORD.findall(
        "a an and are at does for has have how i in is it its list me my of on or the to what which"
    )
)
_QUOTED = 600


class RehearsalModel:
    """Follows the plan whose keywords fit the question, or else calls the one tool that fits best.

    It has no state: each turn depends on the conversation only.
    """

    name = "rehearsal model (no LLM)"

    def __init__(self, plans: Sequence[Plan], question: str = "") -> None:
        """`question` is the part's own question, which always uses the first plan."""
        self._plans = tuple(plans)
        self._question = question

    async def reply(self, conversation: Conversation, tools: Sequence[ToolSpec]) -> ModelTurn:
        """Ask for the next call of the plan, or answer from the results."""
        question = next(entry.text for entry in conversation if isinstance(entry, Question))
        replies = [entry for entry in conversation if isinstance(entry, ToolReply)]
        failed = next((reply for reply in replies if reply.result.is_error), None)
        if failed:
            return ModelTurn(
                f"I cannot answer: the tool {failed.call.name} failed. {failed.result.text[:_QUOTED]}"
            )
        plan = self._choose(question)
        return _follow(plan, replies) if plan else _match(question, replies, tools)

    def _choose(self, question: str) -> Plan | None:
        # By words: a question that was typed again may differ in case and punctuation.
        if self._plans and _words(question) == _words(self._question):
            return self._plans[0]
        asked = set(_words(question))
        fitting = [plan for plan in self._plans if plan.keywords and asked.issuperset(plan.keywords)]
        # The plan with the most keywords is the most specific one.
        return max(fitting, key=lambda plan: len(plan.keywords), default=None)


def _follow(plan: Plan, replies: Sequence[ToolReply]) -> ModelTurn:
    known: dict[str, Any] = {}
    for planned, reply in zip(plan.calls, replies, strict=False):
        known |= {name: keep_of(reply.result.data, rule) for name, rule in planned.keep.items()}
    if len(replies) == len(plan.calls):
        return ModelTurn(str(fill(plan.answer, known)))
    planned = plan.calls[len(replies)]
    call = ToolCall(f"rehearsal-{len(replies) + 1}", planned.tool, fill(planned.arguments, known))
    return ModelTurn("", (call,))


def _match(question: str, replies: Sequence[ToolReply], tools: Sequence[ToolSpec]) -> ModelTurn:
    if replies:
        last = replies[-1]
        return ModelTurn(
            f"By keywords your question fits the tool {last.call.name}. It returned: {_cut(last.result.text)}"
        )
    asked = _meaning(question)
    score = {
        tool.name: len(asked & _meaning(f"{tool.name} {tool.description}"))
        for tool in tools
        if not tool.input_schema.get("required")  # keywords give no arguments
    }
    best = max(score, key=lambda name: score[name], default="")
    if best and score[best]:
        return ModelTurn("", (ToolCall("rehearsal-1", best, {}),))
    return ModelTurn(
        "I am not a language model and no tool fits the words of your question. "
        f"The tools are: {', '.join(tool.name for tool in tools)}. A model in `.env` can answer freely."
    )


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _meaning(text: str) -> set[str]:
    # "repos" in a question fits "repo" in a description.
    return {word.removesuffix("s") for word in _words(text)} - _SMALL_WORDS


def _cut(text: str) -> str:
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"
