"""A client of a hub in a process of its own that sends bytes and reads packets one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from tests.endpoint.raw import RawClient, connect_packet
from tests.process import PATIENCE, HubProcess, sign_in

if TYPE_CHECKING:
    from enos_ingest.testing.hub import Hub

__all__ = ["device", "raw_client"]


class _Address(NamedTuple):
    host: str
    port: int


def raw_client(hub: HubProcess, *, receive_buffer: int = 0) -> RawClient:
    """A connection to a hub; `receive_buffer` bytes are kept by the kernel for this end, 0 for its default."""
    # All that is asked of the hub is where it is.
    client = RawClient(cast("Hub", _Address(*hub.endpoint)), receive_buffer=receive_buffer)
    client.socket.settimeout(PATIENCE)
    return client


def device(hub: HubProcess, name: str, secret: str, *, receive_buffer: int = 0) -> RawClient:
    """The device `PRODUCT/DEVICE`, let in by the hub."""
    client = raw_client(hub, receive_buffer=receive_buffer)
    assert client.connect(connect_packet(sign_in(name, secret))) == 0
    return client
