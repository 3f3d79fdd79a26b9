"""The subscriber finds its way back to the broker, and nothing is taken meanwhile that would be lost."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

import pytest

from enos_ingest import subscriber
from enos_ingest.errors import StartError
from enos_ingest.subscriber import UPLINK_FILTERS, Subscriber
from tests.endpoint import inside
from tests.endpoint.raw import RawClient, connect_packet
from tests.endpoint.site import MODELS, REGISTRY, operator, resume, resume_topic
from tests.endpoint.waiting import DEADLINE, eventually

if TYPE_CHECKING:
    from enos_ingest.intake import Intake
    from enos_ingest.testing import HubFactory
    from enos_ingest.testing.hub import Hub

MANY = 50


def cut(hub: Hub) -> list[str]:
    """Break the subscriber's connection at the broker's side; why the hub is not ready, once it has noticed."""
    relay = inside.listener(hub).relays.hub
    assert relay is not None

    async def break_it() -> list[str]:
        # In the hub's own thread: it connects again soon, and from outside that could be missed.
        relay.close()
        async with asyncio.timeout(DEADLINE):
            while ready(hub):
                await asyncio.sleep(0)
        return inside.reasons(hub)

    return inside.begin_inside(hub, break_it()).result()


def ready(hub: Hub) -> bool:
    """Whether uplinks are being received."""
    return inside.subscriber(hub).is_ready


def test_uplinks_work_again_after_the_connection_was_cut(
    enos_hub: HubFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """The hub says that it is not ready, connects again, and goes on; however often."""
    hub = enos_hub(registry=REGISTRY, models=MODELS)
    with hub.connect("P/alone") as device, hub.connect_operator("alice", "alice-password") as alice:
        for time in (1, 2, 3):
            assert "the subscriber is not connected to the embedded broker" in cut(hub)
            # A device needs no broker.
            assert device.resume({"n": 1}, time=10 * time)["code"] == 200
            eventually(lambda: ready(hub))
            assert inside.reasons(hub) == []
            assert alice.request(resume_topic("alone"), resume(1, time=time))["code"] == 200
    said = [record.getMessage() for record in caplog.records if "lost the broker" in record.getMessage()]
    assert len(said) == 3
    hub.stop()
    faults = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert faults == said  # the drain, too, found everything answered


def test_messages_wait_while_the_subscriber_is_away(enos_hub: HubFactory) -> None:
    """They would find nobody at the broker: the client keeps them, or the kernel does, until somebody is there."""
    hub = enos_hub(registry=REGISTRY, models=MODELS)
    with RawClient(hub) as bench:
        assert bench.connect(connect_packet(operator("alice"))) == 0
        cut(hub)
        for number in range(MANY):
            bench.publish(resume_topic("alone"), resume(1, time=number), packet_id=1 + number)
    eventually(lambda: len(hub.points("P/alone")) == MANY)


def test_the_subscriber_comes_back_to_a_hub_that_is_full(enos_hub: HubFactory) -> None:
    """Its connection is none of those that `limits.connections` is about."""
    hub = enos_hub(registry=REGISTRY, models=MODELS, settings={"limits.connections": "1"})
    with hub.connect_operator("alice", "alice-password") as alice:
        cut(hub)
        eventually(lambda: ready(hub))
        assert alice.request(resume_topic("alone"), resume(1))["code"] == 200
        with RawClient(hub) as other:
            assert other.connect(connect_packet(hub.credentials("P/other"))) == 3


def test_the_filters_cover_what_devices_send_in_both_spellings() -> None:
    """And nothing else."""
    assert UPLINK_FILTERS == ("/sys/#", "sys/#", "/ext/session/#", "ext/session/#")


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([b"\x20\x02\x00\x05"], 'the broker refused the subscriber reason="Not authorized"'),
        (
            [b"\x20\x02\x00\x00", b"\x90\x06\x00\x01\x00\x80\x00\x00"],
            "the broker refused the subscriber's subscriptions",
        ),
        ([], ""),
    ],
    ids=["connection", "subscription", "silence"],
)
def test_a_broker_that_does_not_let_it_in_keeps_the_hub_from_starting(
    answers: list[bytes], said: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one sentence, after a while; the log says what the broker answered."""
    # Our own broker never does: the bytes of one that does are played here, and not waited for as long.
    monkeypatch.setattr(subscriber, "_START_SECONDS", 2.0)

    async def start() -> None:
        playing: list[asyncio.Task[Any] | None] = []

        async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            playing.append(asyncio.current_task())
            for answer in answers:
                await reader.read(1000)
                writer.write(answer)
            await reader.read()
            writer.close()

        server = await asyncio.start_server(play, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            starting = Subscriber(cast("Intake", None), "127.0.0.1", port, ("hub", "password"))
            with pytest.raises(StartError, match="the subscriber cannot subscribe at the embedded broker"):
                await starting.start()
            assert not starting.is_ready
            await starting.close()
            # Left to the end of the event loop a connection might stay open: it may have come several times.
            async with asyncio.timeout(DEADLINE):
                await asyncio.gather(*filter(None, playing))

    asyncio.run(start())
    assert said in caplog.text
