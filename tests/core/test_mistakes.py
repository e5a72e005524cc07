"""What pydantic finds wrong is worded in one place: a number out of its range names the bounds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, ConfigDict, Field, StrictBool, ValidationError

from workshop.agent.toolbox import mistake
from workshop.auth.config_reader import Block, read_block
from workshop.core.errors import UsageError
from workshop.core.files import validated
from workshop.core.mistakes import Needed, Port, Seconds, VisibleText, Whole


def even(number: int) -> int:
    if number % 2:
        raise ValueError("must be even")
    return number


@dataclass(frozen=True)
class Inner:
    wait: Seconds = 1
    __pydantic_config__ = ConfigDict(extra="forbid")


class Settings(Block):
    needed: str
    port: Port | None = None
    seats: Annotated[int, Whole(1, 40)] = 1
    count: Annotated[int, Field(ge=1)] = 1
    most: Annotated[int, Field(le=9)] = 1
    share: Annotated[float, Field(gt=0, lt=2)] = 1
    label: Annotated[str, Field(pattern="^[a-z]$"), Needed("one lower-case letter")] = "a"
    form: Annotated[str, Field(pattern="^[a-z]$")] = "a"
    name: VisibleText = "a"
    short: Annotated[str, Field(min_length=1)] = "a"
    on: StrictBool = False
    log: Literal["text", "json"] = "text"
    items: tuple[int, ...] = ()
    some: Annotated[frozenset[int], Field(min_length=1)] = frozenset({1})
    inner: Inner = Inner()
    by_name: Mapping[str, Inner] = {}
    pair: Annotated[int, AfterValidator(even)] = 2


MISTAKES: dict[str, tuple[dict[str, Any], str, str]] = {
    "missing": ({"needed": ...}, "needed", "is missing"),
    "unknown": ({"nedeed": "x", "needed": ...}, "nedeed", "is unknown"),
    "unknown below": ({"inner": {"wiat": 1}}, "inner.wiat", "is unknown"),
    "low port": ({"port": 0}, "port", "must be a port from 1 to 65535"),
    "high port": ({"port": 65536}, "port", "must be a port from 1 to 65535"),
    "true": ({"port": True}, "port", "must be a port from 1 to 65535"),
    "text": ({"port": "80"}, "port", "must be a port from 1 to 65535"),
    "seats": ({"seats": 41}, "seats", "must be a whole number from 1 to 40"),
    "no number": ({"seats": []}, "seats", "must be a whole number from 1 to 40"),
    "one bound": ({"count": 0}, "count", "must be 1 or more"),
    "other bound": ({"most": 10}, "most", "must be 9 or less"),
    "above": ({"share": 0}, "share", "must be above 0.0"),
    "below": ({"share": 2}, "share", "must be below 2.0"),
    "whole": ({"count": "x"}, "count", "must be a whole number"),
    "fraction": ({"count": 1.5}, "count", "must be a whole number"),
    "number": ({"share": "x"}, "share", "must be a number"),
    "seconds": ({"inner": {"wait": 0}}, "inner.wait", "must be a number of seconds above 0"),
    "endless": ({"inner": {"wait": float("inf")}}, "inner.wait", "must be a number of seconds above 0"),
    "in a map": ({"by_name": {"a": {"wait": "1"}}}, "by_name.a.wait", "must be a number of seconds above 0"),
    "own words": ({"label": "A"}, "label", "must be one lower-case letter"),
    "pattern": ({"form": "A"}, "form", "must be a text of the form `^[a-z]$`"),
    "invisible": ({"name": " "}, "name", "must be a text with a visible character"),
    "empty": ({"short": ""}, "short", "must be a text of one character or more"),
    "no text": ({"needed": 5}, "needed", "must be a text"),
    "no flag": ({"on": 1}, "on", "must be true or false"),
    "choice": ({"log": "xml"}, "log", "must be 'text' or 'json'"),
    "no list": ({"items": 1}, "items", "must be a list"),
    "no entry": ({"some": []}, "some", "must be a list with an entry"),
    "no table": ({"inner": 1}, "inner", "must be a JSON object"),
    "a validator's": ({"pair": 3}, "pair", "must be even"),
}


def settings(changes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in ({"needed": "x"} | changes).items() if value is not ...}


@pytest.mark.parametrize(("changes", "key", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_file_a_configuration_and_a_tool_say_the_same(
    changes: dict[str, Any], key: str, words: str
) -> None:
    data = settings(changes)
    with pytest.raises(UsageError) as of_file:
        validated(Settings, data, Path("settings.json"), "Read the README")
    assert of_file.value.what == f"`{key}` in `settings.json` {words}"
    with pytest.raises(UsageError) as of_block:
        read_block(Settings, data, "above")
    assert of_block.value.what == f"The configuration is wrong at `above.{key}`"
    assert of_block.value.why == f"It {words}"
    assert of_block.value.hint == of_file.value.hint.replace("Read the README", "")
    with pytest.raises(ValidationError) as of_tool:
        Settings.model_validate(data)
    told = [mistake(one).replace("an object", "a JSON object") for one in of_tool.value.errors()]
    assert f"`{key}` {words}" in told


def test_a_file_shows_the_value_but_not_where_it_may_be_a_secret() -> None:
    def why(changes: dict[str, Any]) -> str:
        with pytest.raises(UsageError) as refused:
            validated(Settings, settings(changes), Path("settings.toml"))
        return refused.value.why

    assert why({"port": 70000}) == "It is 70000"
    assert why({"label": "LONG" * 30}) == f"It is '{'LONG' * 14}LON…"
    assert why({"sesame": "sesame"}) == why({"pair": 3}) == ""


def test_an_unknown_key_comes_with_those_that_are_known() -> None:
    with pytest.raises(UsageError, match=r"`inner\.wiat` in `a\.toml` is unknown") as refused:
        validated(Settings, settings({"inner": {"wiat": 1}}), Path("a.toml"))
    assert refused.value.hint == "Allowed are wait"


def test_a_toml_file_has_tables() -> None:
    with pytest.raises(UsageError, match="must be a table"):
        validated(Settings, settings({"inner": 1}), Path("a.toml"))
