"""Addresses: as people write them, sockets bound to them, and what those who connect are counted under."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
from dataclasses import dataclass

from enos_ingest.errors import StartError

__all__ = ["Bind", "bind_socket", "cannot_listen", "source_of"]

_PREFIX_BYTES = 8
_MAPPED = bytes(10) + b"\xff\xff"


@dataclass(frozen=True, slots=True)
class Bind:
    """Where to listen: a host name or address, and a port, 0 for any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Bind:
        """Read `127.0.0.1:1883`, `localhost:0` or `[::1]:1883`; ValueError says what is wrong with any other text."""
        match = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^:\[\]]*)):([0-9]{1,5})", text)
        if match is None or int(match[3]) > 65535:
            raise ValueError("HOST:PORT with a port from 0 to 65535, an IPv6 address in brackets")
        if match[1] is not None:
            try:
                ipaddress.IPv6Address(match[1])
            except ValueError:
                raise ValueError("HOST:PORT with only an IPv6 address in brackets") from None
        host = match[1] or match[2] or ""
        if not re.fullmatch(r"[0-9A-Za-z_.:%-]+", host):
            raise ValueError("HOST:PORT with a host, such as 127.0.0.1 or 0.0.0.0 for all addresses")
        return cls(host, int(match[3]))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def bind_socket(bind: Bind, setting: str = "") -> socket.socket:
    """A non-blocking TCP socket bound to `bind`, not yet listening.

    Args:
        setting: the setting to change, such as `http.bind`, for the error's sentence.

    Raises:
        StartError: the port is taken, the address is not this machine's, the host is not known.
    """
    try:
        found = socket.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as exc:
        reason = exc.strerror if isinstance(exc, socket.gaierror) else str(exc)
        raise StartError(f"cannot listen on {bind}: unknown host {bind.host}: {reason}{_change(setting)}") from exc
    # A name such as localhost may stand for both: tools and users expect 127.0.0.1 first.
    family, kind, protocol, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    sock = socket.socket(family, kind, protocol)
    try:
        # Connections of the last run that are still in TIME_WAIT must not keep the next one from starting.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and bind.host == "::":
            # All addresses means IPv4 too, whatever the system's default is.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
        sock.setblocking(False)
    except OSError as exc:
        sock.close()
        raise cannot_listen(bind, exc, setting) from exc
    return sock


def cannot_listen(bind: Bind, error: OSError, setting: str = "") -> StartError:
    """The sentence for a listener that could not be opened."""
    match error.errno:
        case errno.EADDRINUSE:
            reason = "address already in use by another program; stop it or choose another port"
        case errno.EACCES | errno.EPERM:
            reason = "permission denied; ports below 1024 may need a privilege, choose a higher one"
        case errno.EADDRNOTAVAIL:
            reason = "this machine has no such address"
        case None:
            reason = str(error)
        case code:
            reason = os.strerror(code).lower()
    return StartError(f"cannot listen on {bind}: {reason}{_change(setting)}")


def source_of(address: str) -> str | bytes:
    """What a client's address is counted under; anything that is no address under its own text.

    IPv6 by /64, of which a single host has a whole one; an IPv4 address is the same in its IPv6 form.
    """
    if ":" not in address:
        return address
    try:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except OSError:
        return address
    if packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[len(_MAPPED) :])
    return packed[:_PREFIX_BYTES]


def _change(setting: str) -> str:
    return f" ({setting})" if setting else ""
