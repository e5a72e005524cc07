"""A program that others start again and again, as a browser or a client, and that runs in the test's process.

Each start of Python with our imports would take most of a second of processor time; `RELAY` imports nothing
of ours, and passes its arguments on.
"""

import asyncio
import shlex
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path

from workshop.core.ports import free_port

RELAY = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    connection.sendall("\\n".join(sys.argv[2:]).encode())
    connection.shutdown(socket.SHUT_WR)
    sys.exit(connection.makefile().read() or None)
"""
_READY_SECONDS = 60


@contextmanager
def relayed(act: Callable[..., Coroutine[None, None, None]], folder: Path) -> Iterator[str]:
    """A command for a shell, until the block ends: it runs `act` with its arguments, in a thread of its own.

    No argument may contain a line break. The command ends with exit code 0, or with 1 and the traceback.
    """
    port, ready, stop = free_port(), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        words = (await reader.read()).decode().split("\n")
        try:
            await act(*words)
        except Exception:  # noqa: BLE001 - who started the command reports it
            writer.write(traceback.format_exc().encode())
        writer.close()

    async def serve() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", port):
            ready.set()
            await stop.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(_READY_SECONDS)
    (folder / "relay.py").write_text(RELAY)
    try:
        yield shlex.join([sys.executable, "-I", "-S", str(folder / "relay.py"), str(port)])
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
