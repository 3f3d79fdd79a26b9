"""Each fault closes the connection of a device: [MQTT-4.8.0-1]."""

from __future__ import annotations

import pytest

from enos_ingest.testing.hub import Hub
from tests.endpoint.conformance.device import connected
from tests.endpoint.conformance.faults import FIRST, LATER, Fault
from tests.endpoint.raw import PINGREQ, RawClient


def named(fault: Fault) -> str:
    """The name of a case, with the statement."""
    return fault.name


@pytest.mark.parametrize("fault", FIRST, ids=named)
def test_a_fault_in_connect_closes_without_connack(hub: Hub, fault: Fault) -> None:
    """[MQTT-3.1.4-1]; none of the codes of CONNACK would say it [MQTT-3.2.2-6]."""
    with RawClient(hub) as client:
        client.send(fault.sent)
        assert client.rest() == []


@pytest.mark.parametrize("fault", LATER, ids=named)
def test_a_fault_closes(hub: Hub, fault: Fault) -> None:
    """What came before it is answered, what comes after it is not."""
    with connected(hub) as client:
        client.ping()
        client.send(fault.sent + PINGREQ)
        assert client.rest() == []
