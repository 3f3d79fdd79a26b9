"""What the embedded amqtt does on its own, and our users must never meet: each hazard, shown closed at our endpoint.

Devices never reach amqtt, operators do, behind the relay: where both could meet a hazard, both are tested.

| hazard | shown closed here, or in |
|---|---|
| a session is replaced before authentication | here; take-over of one's own: test_sessions.py |
| refused connections stay registered | test_authentication.py, who_is_refused_gets_a_code_and_leaves_no_trace |
| wills are broadcast unchecked | here: rights that end; test_publish.py, the_will_of_...; test_authentication.py |
| no keep-alive, a header that comes late loses bytes | here; test_limits.py, keep_alive |
| `$` and wildcard topics are black holes with PUBACK | here; test_limits.py, a_broken_packet_closes_... |
| packets of 256 MiB are read into memory | here; test_limits.py, ..._over_the_limit_..., a_connect_... |
| WebSocket can spin the event loop | here |
| every message and client costs as much as there are filters | here |
| retained messages reach everybody | test_publish.py, uplinks_are_never_retained, messages_of_operators_are_retained |
| queues without bounds | here; test_backpressure.py |
| deliveries of QoS 1 are forgotten | here; test_publish.py, packet_ids_of_replies_... |
| plugins cost tasks for each message | here |
| errors share no base class | here; tests/test_broker.py |
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import orjson
import psutil
import pytest
from amqtt.errors import AMQTTError, BrokerError, MQTTError, NoDataError

from enos_ingest.endpoint.packets import PacketType, encode_publish
from enos_ingest.protocol.credentials import Credentials
from enos_ingest.testing.hub import Hub
from tests.endpoint import inside
from tests.endpoint.raw import DISCONNECT, RawClient, connect_packet
from tests.endpoint.site import MODELS, REGISTRY, operator, resume, resume_topic
from tests.endpoint.waiting import eventually

if TYPE_CHECKING:
    from enos_ingest.testing import HubFactory

TOPIC = resume_topic("alone")
REPLY = f"{TOPIC}_reply"
BOTH = pytest.mark.parametrize("who", ["P/alone", "alice"], ids=["device", "operator"])


def credentials(hub: Hub, who: str) -> Credentials:
    """Those of a device `P/...` or of an operator."""
    return hub.credentials(who) if "/" in who else operator(who)


def connected(hub: Hub, who: str, **options: Any) -> RawClient:
    """A client that was let in."""
    client = RawClient(hub)
    assert client.connect(connect_packet(credentials(hub, who), **options)) == 0
    return client


# A session is replaced, overwritten or ended before authentication.


@BOTH
def test_who_knows_a_client_id_and_no_secret_takes_nothing(hub: Hub, who: str) -> None:
    """The connection of that client id goes on, with its subscriptions, and nobody else gets its messages."""
    known = credentials(hub, who)
    sent = connect_packet(known, client_id=known.client_id or "bench", keep_alive=60)
    with RawClient(hub) as client:
        assert client.connect(sent) == 0
        client.subscribe(REPLY)
        for _ in range(3):
            with RawClient(hub) as stranger:
                guess = connect_packet(replace(known, password="0" * 64), client_id=known.client_id or "bench")
                assert stranger.connect(guess) == 4
                assert stranger.rest() == []
            with RawClient(hub) as stranger:
                stranger.send(sent[:-1])
        client.publish(TOPIC, resume(1))
        assert client.message().topic == REPLY
        client.ping()
        assert inside.connections(hub) == 1


# Wills are broadcast without access control.


def test_the_will_of_an_operator_ends_with_the_right_to_publish_it(hub: Hub) -> None:
    """The connection is closed, as the scopes have changed; nobody hears of the will."""
    with connected(hub, "reader") as watcher:
        watcher.subscribe("#")
        with connected(hub, "alice", will=(TOPIC, resume(1))) as alice:
            operators = copy.deepcopy(REGISTRY["operators"])
            operators[0]["scopes"] = ["read"]
            hub.apply({"operators": operators})
            assert alice.rest() == []
        eventually(lambda: inside.connections(hub) == 1)
        with connected(hub, "writer") as writer:
            writer.publish("plant/line", b"after")
        assert watcher.message().payload == b"after"
        watcher.ping()
    assert hub.points("P/alone") == []


# Keep-alive is not enforced; a pause inside a header loses a byte.


def test_silence_ends_a_connection_and_a_pause_inside_a_packet_loses_nothing(hub: Hub) -> None:
    """However long a packet takes within the keep-alive, each of its bytes counts; silence beyond closes."""
    packet = encode_publish(TOPIC, resume(1), qos=1, packet_id=7)
    with connected(hub, "P/alone", keep_alive=60) as device, connected(hub, "alice", keep_alive=60) as alice:
        for begin, end in ((0, 1), (1, 3), (3, len(packet))):
            for slow in (device, alice):
                slow.send(packet[begin:end])
            if end < len(packet):
                # The end of the silent ones is the clock: one and a half seconds inside the header.
                with (
                    connected(hub, "P/other", keep_alive=1) as client,
                    connected(hub, "reader", keep_alive=1) as reader,
                ):
                    assert client.rest() == reader.rest() == []
        for slow in (device, alice):
            assert slow.acknowledged(1) == [7]
            slow.ping()
    eventually(lambda: inside.relays(hub).keys() == {"%hub%"})
    assert len(hub.points("P/alone")) == 1


# A publish to `$...` or to a wildcard topic is acknowledged and disappears, with all that come after it.


@BOTH
def test_no_topic_swallows_messages(hub: Hub, who: str) -> None:
    """Such a topic closes the connection without an acknowledgement; the next connection works."""
    for topic in ("$SYS/broker/version", "$anything", "/sys/P/alone/#", "/sys/+/alone/x", "#", "+"):
        for qos in (1, 2):
            with connected(hub, who) as client:
                client.send(encode_publish(topic, resume(1), qos=qos, packet_id=1))
                assert client.rest() == [], (topic, qos)
            with connected(hub, who) as client:
                client.publish(TOPIC, resume(1))
    eventually(lambda: len(hub.points("P/alone")) == 1)


# Packets up to 256 MiB are read into memory, CONNECT included, before authentication.


@pytest.mark.parametrize("who", ["", "P/alone", "alice"], ids=["nobody", "device", "operator"])
def test_the_longest_packet_there_is_ends_at_its_header(hub: Hub, who: str) -> None:
    """Nothing of it is waited for: the header alone closes the connection."""
    for first_byte in (0x10, 0x30, 0x32, 0x82, 0xA2):
        with connected(hub, who) if who else RawClient(hub) as client:
            client.send(bytes((first_byte, 0xFF, 0xFF, 0xFF, 0x7F)))
            assert client.rest() == []


# The WebSocket reader can spin the event loop before authentication.


def test_nothing_of_the_broker_listens(enos_hub: HubFactory) -> None:
    """The ports are ours alone, and none of them speaks WebSocket."""
    before = listening()
    hub = enos_hub(registry=REGISTRY, models=MODELS)
    inner = {server.sockets[0].getsockname()[1] for server in inside.listener(hub)._inside}  # noqa: SLF001
    http = int(hub.http_url.rpartition(":")[2])
    assert listening() - before == {hub.port, http, *inner}
    upgrade = (
        b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
    )
    for port in (hub.port, *inner):
        with RawClient(cast("Hub", SimpleNamespace(host=hub.host, port=port))) as client:
            client.send(upgrade)
            assert client.rest() == []


def listening() -> set[int]:
    """The TCP ports that this process listens on."""
    mine = psutil.Process().net_connections(kind="tcp")
    return {each.laddr.port for each in mine if each.status == psutil.CONN_LISTEN}


# Every publish, connect and subscribe costs as much as there are filters.

CROWD = 40
COUNTED = ("endpoint/listener", "endpoint/session", "endpoint/subscriptions", "endpoint/mirror", "endpoint/relay")
COUNTED_TOO = ("devices/access", "devices/presence", "protocol/topics", "amqtt/broker", "amqtt/mqtt/protocol")


class Calls:
    """Counts the functions that the hub's thread calls, those of reading and of clocks aside."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Take one event of the profiler."""
        code = frame.f_code
        if event == "call" and any(part in code.co_filename for part in COUNTED + COUNTED_TOO):
            self.counted[f"{Path(code.co_filename).stem}.{code.co_qualname}"] += 1


def calls(hub: Hub, script: Callable[[], None]) -> Counter[str]:
    """What the hub's thread calls while a client goes through a script."""
    counter = Calls()
    inside.run_inside(hub, lambda: sys.setprofile(counter))
    try:
        script()
    finally:
        inside.run_inside(hub, lambda: sys.setprofile(None))
    # amqtt looks for sessions that have ended, once a second.
    return Counter({name: count for name, count in counter.counted.items() if "session_monitor" not in name})


def test_a_device_costs_the_same_however_many_others_there_are(enos_hub: HubFactory) -> None:
    """Connecting, subscribing and publishing call the same functions as often, and none of the broker's."""
    crowd = [{"product": "P", "key": f"crowd-{number}", "secret": "s"} for number in range(CROWD)]
    hub = enos_hub(registry={**REGISTRY, "devices": [*REGISTRY["devices"], *crowd]}, models=MODELS)

    def script() -> None:
        with connected(hub, "P/alone") as client:
            client.subscribe(REPLY, "/sys/+/+/thing/service/+")
            client.publish(TOPIC, resume(1))
            assert client.message().topic == REPLY
            client.send(DISCONNECT)
            assert client.rest() == []

    script()
    filters = len(inside.broker(hub).subscriptions)
    alone = calls(hub, script)
    assert alone["session.DeviceSession._publish"] == alone["session.DeviceSession._subscribe"] == 1
    with contextlib.ExitStack() as stack:
        for number in range(CROWD):
            client = stack.enter_context(connected(hub, f"P/crowd-{number}"))
            client.subscribe(*(f"/sys/P/crowd-{number}/thing/service/{service}" for service in range(20)))
        assert inside.connections(hub) == CROWD
        assert calls(hub, script) == alone
        assert len(inside.broker(hub).subscriptions) == filters, "filters of devices are none of the broker's"
    assert not [name for name in alone if name.startswith(("broker.Broker", "handler."))]


# All queues are unbounded.

IN_FLIGHT = 10
IN_TRANSIT = 64
"""What may be on its way through the broker when the limit is seen to be reached."""


def queued(hub: Hub) -> int:
    """The messages in all queues between the sockets of operators and the store."""
    broker = inside.broker(hub)
    of_sessions: int = sum(
        session.retained_messages.qsize()
        + session.delivered_message_queue.qsize()
        + len(session.inflight_in)
        + len(session.inflight_out)
        for session, _ in broker.sessions.values()
    )
    return broker.undelivered + of_sessions + inside.intake(hub).in_flight


def test_what_an_older_connection_left_is_not_counted_for_the_newer_one(hub: Hub) -> None:
    """amqtt's session may hold messages of a connection that has ended, which were counted off at its end."""
    with RawClient(hub) as client:
        assert client.connect(connect_packet(operator("alice"))) == 0
        (relay,) = (relay for relay in inside.relays(hub).values() if relay.identity.name == "alice")
        inside.run_inside(hub, relay.delivered)
        assert (relay.published, relay.taken) == (0, 0)
        client.ping()


def test_a_flood_of_an_operator_waits_in_its_socket(enos_hub: HubFactory) -> None:
    """While the store cannot commit no queue grows, whatever the QoS; once it can, all of it is stored."""
    hub = enos_hub(registry=REGISTRY, models=MODELS, settings={"limits.in_flight": str(IN_FLIGHT)})
    count = 1000
    flood = b"".join(
        encode_publish(TOPIC, resume("x" * 1000, name="text", time=number), qos=number % 2, packet_id=1 + number)
        for number in range(count)
    )
    with RawClient(hub, send_buffer=4096) as bench:
        assert bench.connect(connect_packet(operator("alice"))) == 0
        sender = threading.Thread(target=bench.send, args=(flood,))
        with inside.locked(hub):
            sender.start()
            eventually(lambda: inside.store(hub).failure)
            failed = inside.store(hub).failed_commits
            eventually(lambda: inside.store(hub).failed_commits >= failed + 1)
            assert 0 < queued(hub) <= IN_FLIGHT + IN_TRANSIT
        sender.join()
        assert bench.acknowledged(count // 2) == list(range(2, count + 1, 2))
    eventually(lambda: len(hub.points("P/alone")) == count)
    eventually(lambda: queued(hub) == 0)


# Deliveries of QoS 1 are forgotten after five seconds, or when the client goes.


def test_nothing_on_its_way_to_the_store_waits_for_an_acknowledgement(hub: Hub) -> None:
    """The hub's own subscriber asks for QoS 0, of which amqtt forgets nothing: TCP keeps it, and pushes back."""
    held = inside.broker(hub).subscriptions
    assert len(held) == 4
    assert {qos for holders in held.values() for _, qos in holders} == {0}


def test_a_device_that_acknowledges_nothing_gets_every_reply_once(hub: Hub) -> None:
    """And one that goes without an answer gets it for what it sends again, on its next connection."""
    count = 1500
    with connected(hub, "P/alone") as client:
        for begin in range(0, count, 100):
            numbers = range(begin, begin + 100)
            client.send(*(report(number) for number in numbers))
            for number in numbers:
                assert orjson.loads(client.message().payload)["id"] == str(number)
                client.expect(PacketType.PUBACK)
        client.ping()
        client.send(report(count))
    with connected(hub, "P/alone") as client:
        client.send(report(count))
        assert orjson.loads(client.message().payload) == {"id": str(count), "code": 200, "data": {}}
        client.expect(PacketType.PUBACK)
        client.ping()
    assert [point.time for point in hub.points("P/alone")] == list(range(count + 1))


def report(number: int) -> bytes:
    """A PUBLISH of QoS 1."""
    return encode_publish(TOPIC, resume(1, time=number, identifier=str(number)), qos=1, packet_id=1 + number)


# The default plugins (event log, packet log, $SYS) cost five tasks for each message.


def test_no_plugin_runs_and_no_message_of_a_device_costs_a_task(hub: Hub) -> None:
    """amqtt has none but the one that lets everybody in whom the endpoint has let in."""
    plugins = [type(plugin).__name__ for plugin in inside.broker(hub).plugins_manager.plugins]
    assert plugins == ["AnonymousAuthPlugin"]
    made: list[str] = []

    def note(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(coroutine.__qualname__)
        return asyncio.Task(coroutine, loop=loop, **options)

    with connected(hub, "P/alone") as client:
        inside.run_inside(hub, lambda: asyncio.get_running_loop().set_task_factory(note))
        client.subscribe(REPLY)
        for number in range(100):
            client.publish(TOPIC, resume(1, time=number), packet_id=1 + number)
            client.message()
    # The HTTP listener waits for its end with a time limit of a second, and each such wait is a task.
    assert set(made) <= {"Event.wait"}
    assert len(made) < 100


# Errors do not share a base class.


KNOWN = (AMQTTError, MQTTError, NoDataError, BrokerError, OSError)
"""What amqtt is known to raise: a warning; anything else is a bug, and logged as one."""


@pytest.mark.parametrize("error", [*KNOWN, ValueError, KeyError])
def test_a_fault_of_the_broker_ends_one_connection(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: type[Exception]
) -> None:
    """Whatever amqtt raises: the client is gone without a trace, the others and the hub's own go on."""
    broker = inside.broker(hub)

    async def fail(*_: object) -> None:
        raise error("made by the test")

    with connected(hub, "alice") as bystander, connected(hub, "P/alone") as device:
        with monkeypatch.context() as patch:
            # amqtt gives us no way to make it fail.
            patch.setattr(broker, "external_connected", fail)
            with RawClient(hub) as client:
                client.send(connect_packet(operator("reader")))
                assert client.rest() == []
        eventually(lambda: inside.connections(hub) == 2)
        bystander.subscribe("/sys/#")
        device.publish(TOPIC, resume(1))
        assert bystander.message().topic == TOPIC
        with connected(hub, "reader") as client:
            client.ping()
    faults = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert faults == ([] if issubclass(error, KNOWN) else ["a connection failed"])


def test_a_watcher_who_acknowledges_nothing_is_remembered_within_bounds(enos_hub: HubFactory) -> None:
    """What it does not acknowledge takes no more room than the limit; the rest it misses, and nobody else does."""
    hub = enos_hub(registry=REGISTRY, models=MODELS, settings={"limits.unacknowledged": "10"})
    with (
        connected(hub, "reader") as mute,
        connected(hub, "reader", client_id="other") as reader,
        connected(hub, "writer") as writer,
    ):
        mute.subscribe("plant/#", qos=1)
        reader.subscribe("plant/#")
        for number in range(100):
            writer.publish("plant/line", b"%d" % number)
            assert reader.message().payload == b"%d" % number
        assert queued(hub) <= 10 + 1
