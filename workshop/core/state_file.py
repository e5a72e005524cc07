"""Read a file that may be damaged: with a limit of size and depth, and held to the types of a dataclass."""

import json
import math
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from workshop.core.encoding import parse_json

T = TypeVar("T")
MOST_BYTES = 8 * 1024 * 1024
Port = Annotated[int, range(1, 1 << 16)]
Pid = Annotated[int, range(1, 1 << 31)]
_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", NoneType: "null"}


class DamagedFileError(ValueError):
    """The contents of a file cannot be used; the message says why, and shows nothing of the contents."""


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
        why = str(error).partition(":")[0]
        raise DamagedFileError(f"It is not JSON that can be used: {why}") from error


def read_state(kind: type[T], path: Path) -> T | None:
    """The dataclass in one of our JSON files; None for no file. Raises DamagedFileError for anything else."""
    try:
        return typed(kind, read_json(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DamagedFileError(error.strerror or type(error).__name__) from error


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
        return value if value in inner[1] else _refuse(at, "in its range")
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
    return data if type(data) is kind else _refuse(at, _WORDS[kind])


def _one_of(kinds: Iterable[Any], data: Any, at: str) -> Any:  # noqa: ANN401 - as above
    for kind in kinds:
        try:
            return _typed(kind, data, at)
        except DamagedFileError:
            continue
    return _refuse(at, "of a type that it may have")


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
