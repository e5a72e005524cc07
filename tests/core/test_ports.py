"""Ports are tested by binding, on both loopback addresses."""

import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from workshop.core.errors import PreflightError
from workshop.core.ports import bind_loopback, free_port, is_free, owner


def test_a_free_port_is_free_until_it_is_bound() -> None:
    port = free_port()
    assert is_free(port)
    bound = bind_loopback(port)
    assert not is_free(port)
    for sock in bound:
        sock.close()
    assert is_free(port)


def test_a_free_port_is_given_out_once_and_is_none_of_those_named() -> None:
    known = {free_port() for _ in range(50)}
    assert len(known) == 50
    assert free_port(besides=range(20_000, 31_000)) >= 31_000


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_listener_on_either_address_takes_the_port(family: int, host: str) -> None:
    port = free_port()
    with socket.socket(family, socket.SOCK_STREAM) as taken:
        try:
            taken.bind((host, port))
        except OSError:
            pytest.skip(f"this machine has no {host}")
        taken.listen()
        with pytest.raises(PreflightError, match=f"{port} is already in use"):
            bind_loopback(port)
        assert f"pid {os.getpid()}" in owner(port)


def test_a_refused_bind_leaves_nothing_bound() -> None:
    port = free_port()
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as taken:
        try:
            taken.bind(("::1", port))
        except OSError:
            pytest.skip("this machine has no IPv6")
        taken.listen()
        with pytest.raises(PreflightError):
            bind_loopback(port)
    for sock in bind_loopback(port):
        sock.close()


def test_an_unowned_port_reports_that() -> None:
    assert owner(free_port()) == "The system does not show which process uses it"


def test_a_port_is_found_free_while_other_threads_start_programs() -> None:
    with ThreadPoolExecutor(2) as pool:
        started = [pool.submit(subprocess.run, ["true"], check=True) for _ in range(150)]
        looks = [is_free(free_port()) for _ in range(600)]
        for each in started:
            each.result()
    assert all(looks)
