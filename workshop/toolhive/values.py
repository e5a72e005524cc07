"""What a manifest may hold: what JSON can write, within bounds; YAML's other types and tricks are refused."""

from collections.abc import Iterator

from workshop.core.errors import UsageError

_MOST_VALUES = 10_000
_DEEPEST = 50
_LARGEST = 1 << 63
_PLAIN = (str, int, float, bool, type(None))


def check_values(document: object, source: str) -> None:
    """Raise UsageError for a document that is too large or too deep, or holds more than JSON can.

    Counted as it unfolds: a few lines of YAML aliases can stand for billions of values, or for themselves.
    """
    waiting = [(document, 0)]
    for _ in range(_MOST_VALUES):
        if not waiting:
            return
        value, depth = waiting.pop()
        problem = "is nested too deeply" if depth > _DEEPEST else _problem(value)
        if problem:
            raise UsageError(f"A manifest {problem}", why=f"Read from {source}")
        waiting += [(inner, depth + 1) for inner in _inside(value)]
    raise UsageError(f"A manifest has more than {_MOST_VALUES} values", why=f"Read from {source}")


def _inside(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _problem(value: object) -> str:
    if isinstance(value, dict):
        return "" if all(isinstance(key, str) for key in value) else "has a key that is not text"
    if isinstance(value, str):
        return "" if _is_unicode(value) else "has text with half a character in it"
    if isinstance(value, int) and abs(value) > _LARGEST:
        return "has a number that does not fit into 64 bits"
    if isinstance(value, (*_PLAIN, list)):
        return ""
    return f"has a {type(value).__name__} where it needs text; put it in quotes"


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)
