"""Operators see what devices send and are answered; what they are shown goes no further."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import orjson
import pytest

from enos_ingest.endpoint import mirror as mirror_module
from enos_ingest.endpoint.mirror import Mirror
from enos_ingest.endpoint.packets import encode_publish
from enos_ingest.protocol.credentials import Credentials
from enos_ingest.testing.hub import Hub, run_hub
from tests.endpoint import inside
from tests.endpoint.raw import DISCONNECT, RawClient, connect_packet
from tests.endpoint.site import MODELS, REGISTRY, metric, operator, resume, resume_topic
from tests.endpoint.waiting import eventually

TOPIC = resume_topic("alone")


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub for each test: messages are counted."""
    with run_hub(registry=REGISTRY, models=MODELS, settings={"limits.outgoing_bytes": 65536}) as running:
        yield running


def connected(hub: Hub, who: str, *, receive_buffer: int = 0) -> RawClient:
    """A device `P/...` or an operator that was let in."""
    credentials: Credentials = hub.credentials(who) if "/" in who else operator(who)
    client = RawClient(hub, receive_buffer=receive_buffer)
    assert client.connect(connect_packet(credentials)) == 0
    return client


def test_what_is_mirrored_is_judged_once(hub: Hub) -> None:
    """However many watch, also those who may write: the subscriber hears nothing of it."""
    with connected(hub, "P/alone") as device, connected(hub, "alice") as alice, connected(hub, "reader") as reader:
        assert alice.subscribe("#") == [0]
        assert reader.subscribe("/sys/+/+/thing/#", "/sys/#", qos=1) == [1, 1]
        device.publish(TOPIC, resume(1))
        device.publish(TOPIC, resume("no number"), packet_id=2)
        for watcher in (alice, reader):
            shown = [watcher.message() for _ in range(4)]
            assert [message.topic for message in shown] == [TOPIC, f"{TOPIC}_reply"] * 2
            assert {(message.qos, message.retain) for message in shown} == {(0, False)}
            assert [orjson.loads(message.payload).get("code") for message in shown] == [None, 200, None, 1204]
            watcher.ping()
        hub_relay = inside.listener(hub).relays.hub
        assert hub_relay is not None
        assert (hub_relay.offered, inside.subscriber(hub).received) == (0, 0)
    assert metric(hub, "enos_ingest_uplinks_total") == 2
    assert len(hub.quarantine()) == 1


def test_while_nobody_watches_nothing_is_copied(hub: Hub) -> None:
    """The end of a subscription, and the end of a watcher, count at once."""

    def watched() -> bool:
        return inside.listener(hub).sessions.mirror.watched

    assert not watched()
    with connected(hub, "reader") as first, connected(hub, "alice") as second:
        first.subscribe("plant/#", "/sys/#")
        second.subscribe("/sys/#")
        assert watched()
        first.unsubscribe("plant/#", "/sys/#")
        assert watched()
        second.send(DISCONNECT)
        second.rest()
        eventually(lambda: not watched())


def test_watchers_see_only_what_they_asked_for(hub: Hub) -> None:
    """By the filters that they hold now."""
    with connected(hub, "P/alone") as device, connected(hub, "reader") as watcher:
        watcher.subscribe("/sys/P/other/#", f"{TOPIC}_reply")
        device.publish(TOPIC, resume(1))
        assert watcher.message().topic == f"{TOPIC}_reply"
        watcher.unsubscribe(f"{TOPIC}_reply")
        device.publish(TOPIC, resume(1), packet_id=2)
        watcher.ping()


def test_a_watcher_who_reads_too_slowly_misses_messages_and_holds_up_nobody(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    """What it missed is counted; it stays connected, and devices are served."""
    long = resume("x" * 20_000, name="text")
    with connected(hub, "P/alone") as device, connected(hub, "reader", receive_buffer=4096) as deaf:
        deaf.subscribe("/sys/#")
        number = 0
        while not metric(hub, "enos_ingest_mirror_dropped_total"):
            number += 1
            device.publish(TOPIC, long, packet_id=1 + number % 1000)
            device.message()
        assert inside.connections(hub) == 2
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


class Watching:
    """A watcher of one topic."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.shown: list[bytes] = []

    def watches(self, topic: str) -> bool:
        """Of this one only."""
        return topic == self.topic

    def show(self, packet: bytes) -> bool:
        """Take one packet and no more."""
        self.shown.append(packet)
        return len(self.shown) == 1


def test_a_copy_that_is_not_taken_is_counted() -> None:
    """Each packet is made once, and shown to those who watch its topic."""
    dropped: list[None] = []
    mirror = Mirror(lambda: dropped.append(None))
    watchers = [Watching("a"), Watching("a"), Watching("b")]
    for watcher in watchers:
        mirror.watch(watcher, wanted=True)
    mirror.show("a", b"x")
    assert [watcher.shown for watcher in watchers] == [[encode_publish("a", b"x")]] * 2 + [[]]
    assert watchers[0].shown[0] is watchers[1].shown[0]
    assert dropped == []
    mirror.show("a", b"x")
    assert len(dropped) == 2
    for watcher in watchers:
        assert mirror.watched
        mirror.watch(watcher, wanted=False)
    assert not mirror.watched


def test_topics_whose_watchers_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many all are looked at anew; who watches what does not change by it."""
    monkeypatch.setattr(mirror_module, "_KEPT_TOPICS", 2)
    mirror, watcher = Mirror(lambda: None), Watching("a")
    mirror.watch(watcher, wanted=True)
    for topic in ("a", "b", "c", "d", "a"):
        mirror.show(topic, b"x")
    assert watcher.shown == [encode_publish("a", b"x")] * 2
