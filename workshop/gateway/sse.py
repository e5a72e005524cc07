"""Server-sent events, rewritten one by one as they pass."""

import re
from collections.abc import AsyncIterator, Callable

_END = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n")
_LINE = re.compile(rb"\r\n|\n|\r")


async def rewrite_events(
    chunks: AsyncIterator[bytes], rewrite: Callable[[bytes], bytes], limit: int, too_long: type[Exception]
) -> AsyncIterator[bytes]:
    """Pass each event on as soon as it is complete, its data through `rewrite`.

    Raises `too_long` for an event of more than `limit` bytes.
    """
    pending = b""
    async for chunk in chunks:
        # An end may lie across two chunks; what was searched before that needs no second look.
        start = max(0, len(pending) - 3)
        pending += chunk
        while end := _END.search(pending, start):
            yield _event(pending[: end.start()], pending[end.start() : end.end()], rewrite)
            pending, start = pending[end.end() :], 0
        if len(pending) > limit:
            raise too_long
    if pending:
        yield _event(pending, b"", rewrite)


def _event(event: bytes, ending: bytes, rewrite: Callable[[bytes], bytes]) -> bytes:
    lines = _LINE.split(event)
    data = b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))
    rewritten = rewrite(data)
    if rewritten == data:
        return event + ending
    others = [line for line in lines if not line.startswith(b"data:")]
    return b"\n".join([*others, *(b"data: " + line for line in rewritten.split(b"\n"))]) + ending
