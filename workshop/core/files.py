"""Read files that may be damaged or mistaken: our state as JSON, and a person's configuration.

A state file is held to the types of a dataclass without pydantic, which would double the time of `status`.
A configuration is read by a pydantic model; every mistake in one is worded here.
"""

import json
import math
import stat
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from workshop.core.encoding import parse_json, shallow
from workshop.core.errors import UsageError, reason

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

T = TypeVar("T")
Model = TypeVar("Model", bound="BaseModel")
MOST_BYTES = 8 * 1024 * 1024
Port = Annotated[int, range(1, 1 << 16)]
Pid = Annotated[int, range(1, 1 << 31)]
_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", NoneType: "null"}
_MOST_SHOWN = 60


class DamagedFileError(ValueError):
    """The contents of a file cannot be used; the message gives the reason, and nothing of the contents."""


def version_of(path: Path) -> tuple[int, int, int] | None:
    """What changes with a file: its inode, its time in nanoseconds, its size; None for no file.

    One that is replaced has another inode, even if its time and its size are the same.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def read_bounded(path: Path, most: int = MOST_BYTES) -> bytes:
    """The contents of a regular file; raises OSError, or DamagedFileError for another kind or size."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # reading a pipe waits for ever, and a device has no end
        raise DamagedFileError("It is not a regular file")
    if found.st_size > most:
        raise DamagedFileError(f"It is larger than {most // 1024**2} MB")
    return path.read_bytes()


def read_json(path: Path, most: int = MOST_BYTES) -> Any:  # noqa: ANN401 - JSON
    """The JSON value in a file; raises OSError, or DamagedFileError for anything but small JSON."""
    return parsed_json(read_bounded(path, most))


def parsed_json(text: str | bytes) -> Any:  # noqa: ANN401 - JSON
    """The value of a JSON text; raises DamagedFileError for anything else, and for one nested too deeply."""
    try:
        return parse_json(text.decode("utf-8") if isinstance(text, bytes) else text)
    except UnicodeDecodeError as error:
        raise DamagedFileError("It is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise DamagedFileError(f"It is not JSON: {error}") from error
    except ValueError as error:  # nested too deeply, or a number of thousands of digits
        # After the colon, Python names the function that raises its limit of digits: not a help here.
        why = str(error).partition(":")[0]
        raise DamagedFileError(f"It is not JSON that can be used: {why}") from error


def read_state(kind: type[T], path: Path) -> T | None:
    """The dataclass in one of our JSON files; None for no file. Raises DamagedFileError for anything else."""
    try:
        return typed(kind, read_json(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DamagedFileError(reason(error)) from error


def typed(kind: type[T], data: object) -> T:
    """Data of a JSON file as `kind`: a dataclass, or what its fields may be; nothing is converted.

    An `Annotated` type carries the values that are allowed, as a `range`. Raises DamagedFileError with the
    path of the first value that is something else.
    """
    return cast("T", _typed(kind, data, ""))


def _typed(kind: Any, data: Any, at: str) -> Any:  # noqa: ANN401 - any annotation, any JSON
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        value = _typed(inner[0], data, at)
        low, high = inner[1][0], inner[1][-1]
        return value if value in inner[1] else _refuse(at, f"{_WORDS[inner[0]]} from {low} to {high}")
    if origin is Literal:
        return data if isinstance(data, str) and data in inner else _refuse(at, f"one of {', '.join(inner)}")
    if origin in (Union, UnionType):
        return _one_of(inner, data, at)
    return _dataclass(kind, data, at) if is_dataclass(kind) else _plain(kind, data, at)


def _plain(kind: Any, data: Any, at: str) -> Any:  # noqa: ANN401 - as above
    origin, inner = get_origin(kind), get_args(kind)
    if origin is not None and issubclass(origin, Mapping):
        return {key: _typed(inner[1], value, f"{at}.{key}") for key, value in _table(data, at).items()}
    if origin is not None and issubclass(origin, Sequence):
        items = data if isinstance(data, list) else _refuse(at, "a list")
        return tuple(_typed(inner[0], value, f"{at}.{number}") for number, value in enumerate(items))
    if kind is float:
        return data if type(data) in (int, float) and math.isfinite(data) else _refuse(at, _WORDS[kind])
    # Not `isinstance`: True is an int, too, and a state file with `"pid": true` is damaged.
    return data if type(data) is kind else _refuse(at, _WORDS[kind])


def _one_of(kinds: Iterable[Any], data: Any, at: str) -> Any:  # noqa: ANN401 - as above
    for kind in kinds:
        try:
            return _typed(kind, data, at)
        except DamagedFileError:
            continue
    return _refuse(at, "of an allowed type")


def _dataclass(kind: Any, data: Any, at: str) -> Any:  # noqa: ANN401 - as above
    table, hints = _table(data, at), get_type_hints(kind, include_extras=True)
    known = {field.name: field for field in fields(kind)}
    if unknown := sorted(table.keys() - known.keys()):
        raise DamagedFileError(f"`{f'{at}.{unknown[0]}'[:60].lstrip('.')}` is unknown")
    for name, field in known.items():
        if name not in table and field.default is MISSING and field.default_factory is MISSING:
            raise DamagedFileError(f"`{f'{at}.{name}'.lstrip('.')}` is missing")
    return kind(**{name: _typed(hints[name], value, f"{at}.{name}") for name, value in table.items()})


def _table(data: Any, at: str) -> dict[str, Any]:  # noqa: ANN401 - as above
    return data if isinstance(data, dict) else _refuse(at, "a table")


def _refuse(at: str, wanted: str) -> Any:  # noqa: ANN401 - it never returns; the callers are expressions
    raise DamagedFileError(f"`{at.lstrip('.')[:60]}` is not {wanted}" if at else f"It is not {wanted}")


def read_toml(file: Path) -> dict[str, Any]:
    """The tables of a TOML file; raises UsageError when it cannot be read, or is not TOML."""
    try:
        return shallow(tomllib.loads(read_bounded(file).decode("utf-8")))
    except OSError as error:
        raise UsageError(f"Cannot read `{file}`", why=reason(error)) from error
    except RecursionError as error:
        raise UsageError(f"`{file}` is not TOML", why="It is nested too deeply") from error
    except ValueError as error:  # not TOML, not UTF-8, or nested too deeply
        raise UsageError(f"`{file}` is not TOML", why=str(error)) from error


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object, or the TOML tables, in a configuration file; raises UsageError if it has neither."""
    if path.suffix == ".toml":
        return read_toml(path)
    try:
        config = read_json(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"The configuration `{path}` cannot be read", why=reason(error)) from error
    if not isinstance(config, dict):
        raise UsageError(f"The configuration `{path}` is not a JSON object")
    return config


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

    from workshop.core.mistakes import first

    try:
        return model.model_validate(data, context={"folder": file.absolute().parent})
    except ValidationError as error:
        raise _usage_error(first(error), model, file, described) from error


def _usage_error(found: "ErrorDetails", model: type["BaseModel"], file: Path, described: str) -> UsageError:
    from workshop.core.mistakes import allowed, in_words, is_about_value

    key = ".".join(str(step + 1) if isinstance(step, int) else step for step in found["loc"])
    where = f"`{key}` in `{file}`" if key else f"`{file}`"
    shown = repr(found["input"])
    why = f"It is {shown if len(shown) <= _MOST_SHOWN else f'{shown[:_MOST_SHOWN]}…'}"
    hidden = model.model_config.get("hide_input_in_errors") or not is_about_value(found)
    return UsageError(
        f"{where} {in_words(found, 'a table' if file.suffix == '.toml' else 'a JSON object')}",
        why="" if hidden else why,
        hint=described if found["type"] == "missing" else allowed(found, model),
    )
