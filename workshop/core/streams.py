"""stdin, stdout and stderr as a person's shell hands them over: closed, full, or in an older encoding."""

import codecs
import io
import os
import sys
from typing import TextIO

from workshop.core.errors import WorkshopError, reason

_NAMES = ("stdin", "stdout", "stderr")
_HANDLER = "workshop.plain"
# Each character of our texts, and its plain form.
_FORMS = "✓* ✗x ●* ○o ■* ▶> ◀< ▲^ ▼v →-> ↑^ ↓v …... ·- \u2013- ─- ━- ═- │| ├+ └+ ┌+ ┐+ ┘+ ⟨< ⟩> ≠!= µu"
_QUOTES = "“\" ”\" \u2018' \u2019'"
_PLAIN = {form[0]: form[1:] for form in f"{_FORMS} {_QUOTES}".split()}


class OutputError(WorkshopError):
    """stdout cannot take what a command prints."""


def prepare_streams() -> None:
    """Make the three streams usable, whatever state they are in.

    One that is closed reads or writes nothing from now on. A character that the encoding lacks is printed in
    a plain form. A write that fails is OutputError on stdout, and is dropped on stderr.
    """
    for number, name in enumerate(_NAMES):
        if getattr(sys, name) is None:
            _reopen(number, name)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    # Whoever has put another stream there, such as a test that captures output, keeps it.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        sys.stdout = _rewrapped(sys.stdout, _Stdout)
    if isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr is sys.__stderr__:
        sys.stderr = _rewrapped(sys.stderr, _Stderr)


def printed(text: str, encoding: str) -> str:
    """The text as a stream of this encoding prints it: a plain form may be longer than its character."""
    return text.encode(encoding, _HANDLER).decode(encoding)


class _Stdout(io.TextIOWrapper):
    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise _unwritable(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise _unwritable(error) from error


class _Stderr(io.TextIOWrapper):
    """Progress and errors have nowhere else to go, so a failure to print them stops nothing."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            _discard(self)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            _discard(self)


def _unwritable(error: OSError) -> BaseException:
    """What ends the command; the rest of the output is dropped, or Python would try again at its end."""
    if sys.stdout is not None:
        _discard(sys.stdout)
    if isinstance(error, BrokenPipeError):  # the reader, such as `head`, has read enough
        return SystemExit(WorkshopError.exit_code)
    return OutputError("The output cannot be written", why=reason(error), hint="Write it to another file")


def _discard(stream: TextIO) -> None:
    """Send what this stream still holds, and all that follows, nowhere."""
    # The descriptor is replaced, not the stream: Python flushes the stream once more at its end.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _rewrapped(stream: io.TextIOWrapper, kind: type[io.TextIOWrapper]) -> TextIO:
    return kind(stream.buffer, stream.encoding, _HANDLER, line_buffering=stream.line_buffering)


def _reopen(number: int, name: str) -> None:
    """Put the null device in place of a stream that was closed before this program started."""
    handle = os.open(os.devnull, os.O_RDWR)
    try:
        os.fstat(number)
    except OSError:  # the number is free: a file that is opened later must not get it
        os.dup2(handle, number)
        os.close(handle)
        handle = number
    if handle == number:
        # Python opens files for itself alone (PEP 446), but a program that is started expects these three.
        os.set_inheritable(number, True)
    stream = os.fdopen(handle, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False)
    setattr(sys, name, stream)
    # The original, too: `prepare_streams` takes a stream that differs from it for somebody else's.
    setattr(sys, f"__{name}__", stream)


def _in_plain_form(error: UnicodeError) -> tuple[str, int]:
    """The error handler of `codecs`: a plain form of each character, or `?`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(char, "?") for char in error.object[error.start : error.end]), error.end


codecs.register_error(_HANDLER, _in_plain_form)
