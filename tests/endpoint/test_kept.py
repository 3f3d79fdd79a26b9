"""Wills and retained messages: operators have them, devices do not."""

from __future__ import annotations

import pytest

from enos_ingest.endpoint.packets import encode_publish
from enos_ingest.testing.hub import Hub
from tests.endpoint import inside
from tests.endpoint.publishing import connected, retained, values
from tests.endpoint.site import resume, resume_topic
from tests.endpoint.waiting import eventually


def test_the_will_of_an_operator_is_delivered(hub: Hub) -> None:
    """Where the connection ends without DISCONNECT."""
    with connected(hub, "reader") as watcher:
        watcher.subscribe("plant/#")
        with connected(hub, "writer", will=("plant/gone", b"bye")) as writer:
            writer.finish()
            message = watcher.message()
            assert (message.topic, message.payload) == ("plant/gone", b"bye")
        with connected(hub, "writer", will=("plant/gone", b"bye")) as writer:
            writer.send(b"\xe0\x00")
            assert writer.rest() == []
        watcher.ping()


def test_the_will_of_a_device_is_dropped(hub: Hub) -> None:
    """However it ends: nobody hears it, nothing is stored."""
    will = (resume_topic("alone"), resume(1))
    with connected(hub, "reader") as watcher:
        watcher.subscribe("#")
        with connected(hub, "P/alone", will=will, will_retain=True) as device:
            device.finish()
            assert device.rest() == []
        eventually(lambda: inside.online(hub) == 0)
        watcher.ping()
    assert values(hub) == []


def test_messages_of_operators_are_retained(hub: Hub) -> None:
    """For those who subscribe later, until an empty one clears them; a device that connects hears nothing."""
    with connected(hub, "alice") as alice, connected(hub, "reader") as reader:
        reader.subscribe("plant/#")
        alice.send(retained(encode_publish("plant/line", b"runs")))
        assert reader.message().payload == b"runs"
        with connected(hub, "reader") as later, connected(hub, "P/alone") as device:
            later.ping()
            device.ping()
            assert later.subscribe("plant/+", "sys/#") == [0, 0]
            message = later.message()
            assert (message.payload, message.retain) == (b"runs", True)
            later.ping()
            device.subscribe("/sys/P/alone/#")
            device.ping()
        alice.send(retained(encode_publish("plant/line", b"")))
        assert reader.message().payload == b""
        with connected(hub, "reader") as last:
            last.subscribe("plant/#")
            last.ping()


@pytest.mark.parametrize("who", ["P/alone", "writer"])
def test_uplinks_are_never_retained(hub: Hub, who: str) -> None:
    """Each new watcher, and the hub itself, would take them for new ones."""
    topic = resume_topic("alone")
    with connected(hub, who) as client:
        client.send(retained(encode_publish(topic, resume(1), qos=1, packet_id=1)))
        client.acknowledged(1)
        eventually(lambda: values(hub) == [1])
        with connected(hub, "reader") as watcher:
            watcher.subscribe("#")
            watcher.ping()
    with connected(hub, "writer", will=(topic, resume(2, time=2)), will_retain=True) as writer:
        writer.finish()
        assert writer.rest() == []
    eventually(lambda: values(hub) == [1, 2])
    assert dict(inside.broker(hub).retained_messages) == {}
