"""A demo script: a TOML file of steps, each a text to say, a command to type or a key to press."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from workshop.core.errors import UsageError
from workshop.core.files import read_toml, validated

SCRIPTS = Path(__file__).parent / "scripts"
KEYS = {"": "", "ctrl-c": "\x03", "ctrl-d": "\x04", "enter": "\r", "space": " ", "y": "y", "n": "n"}
_VARIABLE, _WORKLOAD = re.compile(r"[A-Z][A-Z_]*"), re.compile(r"[a-z][a-z-]*")
_DESCRIBED = "The demos in `workshop/course/demo/scripts` have every key"


def _is_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error
    return text


def _exit_code(found: object) -> int:
    if type(found) is not int:
        raise ValueError("is not an exit code")
    return found


def _addresses(found: object) -> Mapping[str, str]:
    words = found if isinstance(found, Mapping) else {"": ""}
    if not all(_VARIABLE.fullmatch(name) and _WORKLOAD.fullmatch(str(of)) for name, of in words.items()):
        raise ValueError('does not name workloads, as `URL = "github-remote"` does')
    return words


def _numbered(found: Any) -> Any:  # noqa: ANN401 - what TOML has there
    """The steps with a number from 1, which is also the name of one that has none."""
    if not isinstance(found, list) or not all(isinstance(step, dict) for step in found):
        return found
    return [{"name": str(number), **step, "number": number} for number, step in enumerate(found, 1)]


_Pattern = Annotated[str, AfterValidator(_is_pattern)]


@dataclass(frozen=True)
class Step:
    """One step: the text to say, type or press, the patterns to expect, and the exit code of the command.

    With `until` the next step starts as soon as that pattern appears, without waiting for the prompt.
    """

    number: int
    name: str
    say: str = ""
    type: str = ""
    press: Literal["", "ctrl-c", "ctrl-d", "enter", "space", "y", "n"] = ""
    expect: Annotated[
        tuple[_Pattern, ...], BeforeValidator(lambda found: [found] if isinstance(found, str) else found)
    ] = ()
    until: _Pattern = ""
    exit: Annotated[int, BeforeValidator(_exit_code)] = 0
    seconds: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 60.0
    pause: bool = False
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        """Refuse a step without anything to do."""
        if not (self.say or self.type or self.press):
            raise ValueError("has neither `say`, `type` nor `press`")


class Script(BaseModel):
    """A demo: its steps, and the commands before and after it that are not shown.

    `addresses` maps the shell variables that the steps use to workloads: `$URL` is then such an address.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path
    title: str
    summary: str = ""
    setup: tuple[str, ...] = ()
    addresses: Annotated[Mapping[str, str], BeforeValidator(_addresses)] = {}
    cleanup: tuple[str, ...] = ()
    steps: Annotated[tuple[Step, ...], Field(min_length=1), BeforeValidator(_numbered)]

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def golden(self) -> Path:
        """The file with the output that the demo should have."""
        return self.file.with_suffix(".golden.txt")


def names() -> list[str]:
    """The demos that come with the toolkit."""
    return sorted(path.stem for path in SCRIPTS.glob("*.toml"))


def load(name: str) -> Script:
    """The demo of this name, or in this TOML file; raises UsageError if it is missing or wrong."""
    path = Path(name) if name.endswith(".toml") else SCRIPTS / f"{name}.toml"
    if not path.is_file():
        raise UsageError(f"Unknown demo `{name}`", hint=f"Choose {', '.join(names())}, or name a TOML file")
    return validated(Script, {"title": path.stem, **read_toml(path), "file": path}, path, _DESCRIBED)
