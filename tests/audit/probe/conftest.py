"""A weak server on a real loopback port, reset for each test."""

import threading
from collections.abc import Iterator

import pytest
import uvicorn

from tests.audit.probe.weak import WeakServer, weak_app
from workshop.core.ports import bind_loopback, free_port


@pytest.fixture(scope="session")
def running_weak_server() -> Iterator[WeakServer]:
    port = free_port()
    weak = WeakServer(port)
    config = uvicorn.Config(
        weak_app(weak), log_config=None, access_log=False, server_header=False, lifespan="off"
    )
    server = uvicorn.Server(config)
    # Bound before the thread starts: a request that comes early waits in the backlog.
    sockets = bind_loopback(port)
    for sock in sockets:
        sock.listen()
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    yield weak
    server.should_exit = True
    thread.join(60)
    assert not thread.is_alive()


@pytest.fixture
def weak(running_weak_server: WeakServer) -> WeakServer:
    running_weak_server.reset()
    return running_weak_server
