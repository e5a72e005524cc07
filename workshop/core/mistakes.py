"""What pydantic finds wrong, in our words: in a file, in a server's configuration, in a tool's arguments."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

from pydantic import BeforeValidator, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_NEEDED = "needed"  # our own name for a mistake whose `words` are what the value must be
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_KINDS = {  # the beginning of pydantic's name for a mistake: what the value must be
    _NEEDED: "{words}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "greater_than_equal": "{ge} or more",
    "greater_than": "above {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "below {lt}",
    "string_too_short": "a text of one character or more",
    "string_pattern_mismatch": "a text of the form `{pattern}`",
    "too_short": "a list with an entry",
    "string_": "a text",
    "int_": "a whole number",
    "float_": "a number",
    "finite_": "a number",
    "bool_": "true or false",
    "tuple_": "a list",
    "list_": "a list",
    "frozen_set_": "a list",
    "model_": "{table}",
    "dataclass_": "{table}",
    "dict_": "{table}",
    "mapping_": "{table}",
}


def Whole(low: int, high: int, what: str = "a whole number") -> BeforeValidator:  # noqa: N802 - part of a type
    """A whole number of this range, which true and false are not."""

    def check(value: object) -> object:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _needed(f"{what} from {low} to {high}")
        return value

    return BeforeValidator(check)


def Needed(words: str) -> WrapValidator:  # noqa: N802 - part of a type
    """What a value of this type must be, in our words, whatever pydantic finds wrong with it."""

    def check(value: object, handler: ValidatorFunctionWrapHandler) -> Any:  # noqa: ANN401 - of any type
        try:
            return handler(value)
        except ValidationError:
            raise _needed(words) from None

    return WrapValidator(check)


def _needed(words: str) -> PydanticCustomError:
    return PydanticCustomError(_NEEDED, "{words}", {"words": words})


Port = Annotated[int, Whole(1, 65535, "a port")]
VisibleText = Annotated[str, Field(pattern=r"\S"), Needed("a text with a visible character")]
# Strict: pydantic takes `true` for 1 and "30" for 30 otherwise.
Seconds = Annotated[
    float, Field(gt=0, strict=True, allow_inf_nan=False), Needed("a number of seconds above 0")
]


def first(error: ValidationError) -> "ErrorDetails":
    """The mistake to report; a misspelt key is unknown and missing, and the first names the mistake."""
    return min(error.errors(include_url=False), key=lambda one: one["type"] not in _UNKNOWN)


def in_words(found: "ErrorDetails", table: str = "an object") -> str:
    """What is wrong with a value, after its name: "is missing", "must be a list"; the value is not shown.

    A `table` is what the format of the file calls its objects.
    """
    kind, context = found["type"], found.get("ctx", {})
    if kind.startswith("missing"):
        return "is missing"
    if kind in _UNKNOWN:
        return "is unknown"
    if kind == "value_error":  # a validator's own words
        return str(context["error"])
    needed = next((words for prefix, words in _KINDS.items() if kind.startswith(prefix)), "")
    return f"must be {needed.format(**context, table=table)}" if needed else "is not valid"


def is_about_value(found: "ErrorDetails") -> bool:
    """Whether the value is of a wrong kind, so that it helps to show it."""
    return not found["type"].startswith("missing") and found["type"] not in (*_UNKNOWN, "value_error")


def allowed(found: "ErrorDetails", model: object) -> str:
    """The keys that there may be, as a hint, where an unknown one was found."""
    if found["type"] not in _UNKNOWN:
        return ""
    return f"Allowed are {', '.join(sorted(_keys_at(model, found['loc'][:-1])))}"


def _keys_at(kind: Any, path: Sequence[str | int]) -> list[str]:  # noqa: ANN401 - any annotation
    """The keys that the table at `path` below a table of type `kind` may have."""
    inner = [each for each in get_args(kind) if each not in (..., NoneType)]
    if NoneType in get_args(kind):
        return _keys_at(inner[-1], path)
    known = _fields(kind)
    if not path:
        return list(known)
    # Without fields, a step leads to the items of a list, or the values of a table.
    return _keys_at(known[str(path[0])] if known else inner[-1], path[1:])


def _fields(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - any annotation
    """The annotation of each key of a model or a dataclass; empty for any other type."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return {field.name: hints[field.name] for field in fields(kind)}
    known = getattr(kind, "model_fields", {})
    return {field.alias or name: field.annotation for name, field in known.items()}
