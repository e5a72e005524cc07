"""How one check is tried, and what is told of it."""

from pathlib import Path

from tests.course.conftest import Judge, MakePart


def test_a_check_that_returns_has_passed_and_its_docstring_is_what_it_says(
    judge: Judge, make_part: MakePart
) -> None:
    part = make_part('@check(hints=("h",))\ndef fine(subject):\n    """It is fine."""\n')
    found = judge(part)["fine"]
    assert (found.state, found.sentence, found.hints) == ("passed", "It is fine", ())


def test_a_reason_and_the_hints_are_reported_for_one_that_has_not(judge: Judge, make_part: MakePart) -> None:
    part = make_part(
        '@check(hints=("first", "second"))\n'
        'async def wrong(subject):\n    """It is right."""\n    expect(1 == 2, "One is not two")\n'
    )
    found = judge(part)["wrong"]
    assert (found.state, found.reason, found.hints) == ("failed", "One is not two", ("first", "second"))


def test_what_builds_on_a_failed_check_is_not_tried_nor_what_builds_on_that(
    judge: Judge, make_part: MakePart
) -> None:
    part = make_part(
        '@check(hints=())\ndef one(subject):\n    """1."""\n    expect(False, "no")\n'
        '@check(hints=(), needs=(one,))\ndef two(subject):\n    """2."""\n'
        '@check(hints=(), needs=(two,))\ndef three(subject):\n    """3."""\n'
        '@check(hints=())\ndef four(subject):\n    """4."""\n'
    )
    assert [found.state for found in judge(part).values()] == ["failed", "not tried", "not tried", "passed"]


def test_what_cannot_be_checked_here_keeps_nothing_else_from_being_tried(
    judge: Judge, make_part: MakePart
) -> None:
    part = make_part(
        '@check(hints=())\ndef one(subject):\n    """1."""\n    raise NotApplicableError("not here")\n'
        '@check(hints=(), needs=(one,))\ndef two(subject):\n    """2."""\n'
    )
    found = judge(part)
    assert (found["one"].state, found["one"].reason) == ("not applicable", "not here")
    assert found["two"].state == "passed"


def test_a_check_is_tried_again_only_as_often_as_it_says(judge: Judge, make_part: MakePart) -> None:
    part = make_part(
        "tries = []\n"
        '@check(hints=(), retries=2)\nasync def slow(subject):\n    """Late."""\n'
        '    tries.append(1)\n    expect(len(tries) == 3, "not yet")\n'
        '@check(hints=(), retries=1)\ndef slower(subject):\n    """Later."""\n'
        '    tries.append(1)\n    expect(len(tries) == 6, f"{len(tries)} tries")\n'
    )
    found = judge(part)
    assert found["slow"].state == "passed"
    assert (found["slower"].state, found["slower"].reason) == ("failed", "5 tries")


def test_a_deadline_ends_a_check_that_waits_and_its_last_reason_is_reported(
    judge: Judge, make_part: MakePart
) -> None:
    part = make_part(
        "import asyncio\n"
        '@check(hints=(), seconds=0.05)\nasync def waits(subject):\n    """Waits."""\n'
        "    await asyncio.sleep(60)\n"
        '@check(hints=(), seconds=0.05, retries=10**9)\nasync def tries(subject):\n    """Tries."""\n'
        '    expect(False, "still not there")\n'
    )
    found = judge(part)
    assert found["waits"].reason == "It took longer than 0.05 seconds"
    assert found["tries"].reason == "still not there"


def test_the_hint_of_a_reason_comes_first_and_only_once(judge: Judge, make_part: MakePart) -> None:
    part = make_part(
        '@check(hints=("one", "two"))\ndef wrong(subject):\n    """W."""\n    expect(False, "no", "two")\n'
    )
    found = judge(part)["wrong"]
    assert (found.reason, found.hints) == ("no", ("two", "one"))


def test_one_of_our_errors_gives_its_reason_and_its_hint_first(judge: Judge, make_part: MakePart) -> None:
    part = make_part(
        '@check(hints=("mine",))\ndef needs_room(subject):\n    """R."""\n    subject.endpoint("workshop")\n'
    )
    found = judge(part)["needs_room"]
    assert found.reason == "Nothing is up"
    assert found.hints == ("`workshop up` starts what the parts need", "mine")


def test_an_error_in_the_learners_file_names_its_line(
    judge: Judge, make_part: MakePart, tmp_path: Path
) -> None:
    part = make_part(
        '@check(hints=(), exercise=1)\ndef one(subject):\n    """1."""\n    subject.function("f")()\n'
    )
    work = tmp_path / "mine.py"
    for source, reason in {
        "def f():\n    return {}['x']\n": "KeyError, line 2 of mine.py: 'x'",
        "def f(:\n": "SyntaxError, line 1 of mine.py: invalid syntax",
        "raise SystemExit(3)\n": "SystemExit, line 1 of mine.py: 3",
        "g = 1\n": "The file no longer has a function `f`",
    }.items():
        work.write_text(source, encoding="utf-8")
        found = judge(part, works={"1": str(work)})["one"]
        assert (found.state, found.reason) == ("failed", reason)


def test_an_exercise_is_judged_only_once_it_is_begun(judge: Judge, make_part: MakePart) -> None:
    part = make_part(
        '@check(hints=())\ndef own(subject):\n    """O."""\n'
        '@check(hints=(), exercise=1)\ndef one(subject):\n    """1."""\n'
        '@check(hints=(), exercise=2)\ndef two(subject):\n    """2."""\n'
    )
    assert list(judge(part)) == ["own"]
    assert list(judge(part, works={"2": "x"})) == ["own", "two"]
    assert list(judge(part, works={"1": "x", "2": "x"}, only=1)) == ["one"]


def test_a_reason_cannot_write_to_the_terminal(judge: Judge, make_part: MakePart) -> None:
    part = make_part(
        '@check(hints=())\ndef one(subject):\n    """1."""\n    expect(False, chr(27) + "[2J" + "x" * 9999)\n'
    )
    found = judge(part)["one"]
    assert found.reason.startswith("\\x1b[2J")
    assert len(found.reason) <= 600
