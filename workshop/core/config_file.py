"""Configuration files that pydantic models read: one wording for every mistake in one."""

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from workshop.core.encoding import shallow
from workshop.core.errors import UsageError
from workshop.core.state_file import read_bounded

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound="BaseModel")
_KINDS = {  # pydantic's name of an error: what the value is not
    "string_type": "a text",
    "string_too_short": "a text of one character or more",
    "string_pattern_mismatch": "a text with a visible character",
    "model_type": "a table",
    "dataclass_type": "a table",
    "dict_type": "a table",
    "mapping_type": "a table",
    "tuple_type": "a list",
    "float_type": "a number of seconds above 0",
    "greater_than": "a number of seconds above 0",
    "finite_number": "a number of seconds above 0",
    "int_type": "a port from 1 to 65535",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "frozen_set_type": "a list",
    "too_short": "a list with an entry",
    "greater_than_equal": "a port from 1 to 65535",
    "less_than_equal": "a port from 1 to 65535",
}
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_MOST_SHOWN = 60


def read_toml(file: Path) -> dict[str, Any]:
    """The tables of a TOML file; raises UsageError when it cannot be read, or is not TOML."""
    try:
        return shallow(tomllib.loads(read_bounded(file).decode("utf-8")))
    except OSError as error:
        raise UsageError(f"Cannot read `{file}`", why=error.strerror or str(error)) from error
    except RecursionError as error:
        raise UsageError(f"`{file}` is not TOML", why="It is nested too deeply") from error
    except ValueError as error:  # not TOML, not UTF-8, or nested too deeply
        raise UsageError(f"`{file}` is not TOML", why=str(error)) from error


def validated(
    model: type[Model],
    data: Mapping[str, Any],
    file: Path,
    described: str = "`parts/README.md` describes every key",
) -> Model:
    """`data` of `file` as `model`; raises UsageError with the key, what was found and what is allowed.

    Validators get `folder`, that of `file`, in their context. `described` is the hint for a missing key.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(data, context={"folder": file.absolute().parent})
    except ValidationError as error:
        # A missing key first: a misspelt one is missing and unknown, and the first says what to write.
        found = min(error.errors(), key=lambda one: one["type"] != "missing")
        raise _usage_error(found, model, file, described) from error


def _usage_error(found: "ErrorDetails", model: type["BaseModel"], file: Path, described: str) -> UsageError:
    kind, path = found["type"], found["loc"]
    key = ".".join(str(step + 1) if isinstance(step, int) else step for step in path)
    if kind == "missing":
        return UsageError(f"`{file}` has no `{key}`", hint=described)
    if kind in _UNKNOWN:
        allowed = ", ".join(sorted(keys_at(model, path[:-1])))
        return UsageError(f"`{file}` has the unknown key `{key}`", hint=f"Allowed are {allowed}")
    if kind == "value_error":
        where = f"`{key}` in `{file}`" if key else f"`{file}`"
        return UsageError(f"{where} {found['ctx']['error']}")
    shown = repr(found["input"])
    why = f"It is {shown if len(shown) <= _MOST_SHOWN else f'{shown[:_MOST_SHOWN]}…'}"
    return UsageError(f"`{key}` in `{file}` is not {requirement(found)}", why=why)


def requirement(found: "ErrorDetails") -> str:
    """What the value must be, as in "is not a list"."""
    return _KINDS.get(found["type"]) or str(found.get("ctx", {}).get("expected", "valid"))


def keys_at(kind: Any, path: Sequence[str | int]) -> list[str]:  # noqa: ANN401 - any annotation
    """The keys that the table at `path` below a table of type `kind` may have."""
    inner = [each for each in get_args(kind) if each not in (..., NoneType)]
    if NoneType in get_args(kind):
        return keys_at(inner[-1], path)
    fields = _fields(kind)
    if not path:
        return list(fields)
    # Without fields, a step leads to the items of a list, or the values of a table.
    return keys_at(fields[str(path[0])] if fields else inner[-1], path[1:])


def _fields(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - any annotation
    """The annotation of each key of a model or a dataclass; empty for any other type."""
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    fields = getattr(kind, "model_fields", {})
    return {field.alias or name: field.annotation for name, field in fields.items()}
