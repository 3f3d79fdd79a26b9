"""Bound sockets, and the sentences for those that cannot be."""

from __future__ import annotations

import errno
import socket

import pytest

from enos_ingest.errors import StartError
from enos_ingest.sockets import Bind, bind_socket, cannot_listen


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_bound_socket_takes_connections_once_it_listens(host: str) -> None:
    """IPv4 first, also for a name that stands for both."""
    with bind_socket(Bind(host, 0)) as sock:
        sock.listen()
        assert sock.gettimeout() == 0.0
        with socket.create_connection(("127.0.0.1", sock.getsockname()[1]), timeout=5):
            pass


def test_all_ipv6_addresses_take_ipv4_too() -> None:
    """`[::]` means everybody."""
    with bind_socket(Bind("::", 0)) as sock:
        sock.listen()
        for address in ("127.0.0.1", "::1"):
            with socket.create_connection((address, sock.getsockname()[1]), timeout=5):
                pass


def test_a_taken_port_is_one_clear_sentence() -> None:
    """With the address, the reason, what to do and the setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError) as caught:
            bind_socket(Bind("127.0.0.1", port), "http.bind")
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{port}: address already in use by another program;"
        " stop it or choose another port (http.bind)"
    )


def test_a_port_can_be_taken_again_at_once() -> None:
    """The end of a connection of the last run does not keep the next one from starting."""
    with bind_socket(Bind("127.0.0.1", 0)) as first:
        first.listen()
        port = first.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            first.setblocking(True)
            served, _ = first.accept()
            # The side that closes first is left in TIME_WAIT.
            served.close()
            assert client.recv(1) == b""
    bind_socket(Bind("127.0.0.1", port)).close()


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("192.0.2.1", "cannot listen on 192.0.2.1:0: this machine has no such address"),
        ("no-such-host.invalid", "cannot listen on no-such-host.invalid:0: unknown host no-such-host.invalid: "),
        ("a" * 64 + ".invalid", "unknown host"),
    ],
)
def test_an_address_that_is_not_here_is_one_clear_sentence(host: str, said: str) -> None:
    """Another machine's address, and names that nobody knows."""
    with pytest.raises(StartError) as caught:
        bind_socket(Bind(host, 0))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EACCES, ""), "permission denied; ports below 1024 may need a privilege, choose a higher one"),
        (OSError(errno.EMFILE, ""), "too many open files"),
        (OSError("strange"), "strange"),
    ],
)
def test_other_errors_of_the_system_are_named(error: OSError, said: str) -> None:
    """A privileged port, no file descriptors left, anything else."""
    assert str(cannot_listen(Bind("::1", 80), error)) == f"cannot listen on [::1]:80: {said}"
