"""Connections while the registry changes under them, and while the hub goes down."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest

from enos_ingest.protocol.credentials import Credentials
from tests.endpoint import inside
from tests.endpoint.raw import RawClient, connect_packet
from tests.endpoint.site import MODELS, REGISTRY, operator, resume, resume_topic
from tests.endpoint.waiting import eventually

if TYPE_CHECKING:
    from enos_ingest.testing import HubFactory
    from enos_ingest.testing.hub import Hub


def connected(hub: Hub, who: str) -> RawClient:
    """A device, a channel, an operator or, without a name, an anonymous client that was let in."""
    credentials: Credentials | None = None
    if who:
        credentials = hub.credentials(who) if "/" in who else operator(who)
    client = RawClient(hub)
    assert client.connect(connect_packet(credentials)) == 0
    return client


def test_who_is_no_longer_welcome_is_disconnected(enos_hub: HubFactory) -> None:
    """Removed, disabled, with another secret or other scopes; all others stay."""
    hub = enos_hub(registry=REGISTRY, models=MODELS, settings={"security.anonymous": "true"})
    rest = copy.deepcopy(REGISTRY)
    rest["products"] = [row for row in rest["products"] if row["key"] == "P"]
    rest["devices"] = [row for row in rest["devices"] if row["key"] != "other"]
    by_name = {row["name"]: row for row in rest["operators"]}
    by_name["alice"]["scopes"] = ["read"]
    rest["operators"] = [by_name["alice"], by_name["writer"]]
    next(row for row in rest["devices"] if row["key"] == "gw")["enabled"] = False
    next(row for row in rest["devices"] if row["key"] == "alone")["secret"] = "another"
    rest["gateways"] = []
    hub.apply({"products": [{"key": "Q", "model": "m", "secret": "QSecret"}]})
    eventually(lambda: hub.directory.products["Q"].secret)
    leaving = [connected(hub, who) for who in ("P/other", "P/gw", "P/alone", "Q/%channel%", "alice", "reader")]
    staying = [connected(hub, who) for who in ("P/sub", "P/%channel%", "writer", "")]
    hub.apply(rest, prune=True)
    said = [[packet.publish.topic for packet in client.rest()] for client in leaving]
    assert said == [["/sys/P/other/thing/delete"], ["/sys/P/gw/thing/disable"], [], [], [], []]
    for client in staying:
        client.ping()
    assert inside.online(hub) == 1
    assert inside.connections(hub) == len(staying)
    for client in (*leaving, *staying):
        client.socket.close()


def test_devices_that_must_use_tls_from_now_on_are_disconnected(enos_hub: HubFactory) -> None:
    """And refused on the plain port; those of other products stay."""
    hub = enos_hub(registry=REGISTRY, models=MODELS)
    hub.apply({"products": [{"key": "Q", "model": "m", "secret": "QSecret"}]})
    eventually(lambda: hub.directory.products["Q"].secret)
    with connected(hub, "P/alone") as device, connected(hub, "Q/%channel%") as channel:
        hub.apply({"products": [{"key": "P", "secret": "PSecret", "model": "m", "require_tls": True}]})
        assert device.rest() == []
        channel.ping()
    with RawClient(hub) as client:
        assert client.connect(connect_packet(hub.credentials("P/alone"))) == 5


def test_what_a_gateway_may_do_follows_its_topology(enos_hub: HubFactory) -> None:
    """Without connecting again."""
    hub = enos_hub(registry=REGISTRY, models=MODELS)
    with connected(hub, "P/gw") as gateway:
        assert gateway.subscribe("/sys/P/alone/#", "/sys/P/sub/#") == [0x80, 0]
        hub.apply({"gateways": [{"device": "P/gw", "sub_devices": ["P/alone"]}]})
        eventually(lambda: len(next(iter(hub.directory.topology.values()))) == 2)
        assert gateway.subscribe("/sys/P/alone/#") == [0]
        gateway.publish(resume_topic("alone"), resume(1))
        assert gateway.message().topic == f"{resume_topic('alone')}_reply"


@pytest.mark.parametrize("sent", [b"", b"\x10", connect_packet(operator("alice"))], ids=["nothing", "half", "CONNECT"])
def test_a_hub_that_stops_closes_all_connections(enos_hub: HubFactory, sent: bytes) -> None:
    """Also those that have not said who they are; nobody is waited for."""
    hub = enos_hub(registry=REGISTRY, models=MODELS)
    with connected(hub, "P/alone") as device, RawClient(hub) as stranger:
        stranger.send(sent)
        eventually(lambda: inside.accepted(hub) == 2)
        hub.stop()
        assert device.rest() == []
        stranger.rest()
