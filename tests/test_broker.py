"""What we use of amqtt, so that an amqtt without it is noticed here; and what we made of it."""

from __future__ import annotations

import asyncio
import collections
import inspect
import logging
import threading
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from amqtt import errors
from amqtt.adapters import ReaderAdapter, WriterAdapter
from amqtt.broker import Action, Broker
from amqtt.contexts import BrokerConfig, ListenerType
from amqtt.session import Session

from enos_ingest.broker import EmbeddedBroker
from enos_ingest.devices.directory import Directory
from enos_ingest.protocol.identity import Hub, Operator
from tests.endpoint.raw import RawClient, connect_packet
from tests.endpoint.site import MODELS, REGISTRY, operator

if TYPE_CHECKING:
    from enos_ingest.testing import HubFactory

NEEDED: dict[tuple[type, str], tuple[str, str]] = {
    (Broker, "_topic_filtering"): (
        "async (self, session, topic, action)",
        "overridden: access is decided here, in place of plugins that would suspend amqtt while it iterates",
    ),
    (Broker, "_publish_retained_messages_for_subscription"): (
        "async (self, subscription, session)",
        "overridden: amqtt calls it for everybody's filters when a client connects, and would send what matches",
    ),
    (Broker, "_del_subscription"): (
        "(self, a_filter, session)",
        "overridden: a filter that is given up makes room for another under limits.subscriptions",
    ),
    (Broker, "_del_all_subscriptions"): (
        "async (self, session)",
        "overridden: amqtt's own iterates the filters, of which those that nobody holds any more are removed here",
    ),
    (Broker, "_client_message_loop"): (
        "async (self, client_session, handler)",
        "overridden: from here on amqtt listens for the end of a connection, so that the relay may read on",
    ),
    (Broker, "retain_message"): (
        "async (self, source_session, topic_name, data, qos=None)",
        "overridden: retained topics are bounded",
    ),
    (Broker, "external_connected"): (
        "async (self, reader, writer, listener_name)",
        "called: the endpoint accepts, authenticates and frames, amqtt only serves",
    ),
    (Broker, "_cleanup_session"): (
        "async (self, client_id)",
        "called: an ended session is forgotten at once, not within a second",
    ),
    (Broker, "start"): ("async (self)", "called: makes the external listener known, starts the distribution"),
    (Broker, "shutdown"): ("async (self)", "called: ends the distribution"),
    (BrokerConfig, "from_dict"): ("(d)", "called: the configuration is given as amqtt documents it"),
    (ReaderAdapter, "read"): ("async (self, n=-1)", "implemented: amqtt asks for the bytes of a packet"),
    (ReaderAdapter, "feed_eof"): ("(self)", "implemented: amqtt ends the reading"),
    (WriterAdapter, "write"): ("(self, data)", "implemented: amqtt sends"),
    (WriterAdapter, "drain"): ("async (self)", "implemented: must not wait for a slow reader"),
    (WriterAdapter, "get_peer_info"): ("(self)", "implemented: amqtt drops connections without a peer"),
    (WriterAdapter, "get_ssl_info"): ("(self)", "implemented: amqtt notes the TLS object of a session"),
    (WriterAdapter, "close"): ("async (self)", "implemented: amqtt ends the connection"),
}


def signature(function: Callable[..., Any]) -> str:
    """The names and defaults of a function's parameters."""
    parameters = [item.replace(annotation=item.empty) for item in inspect.signature(function).parameters.values()]
    prefix = "async " if inspect.iscoroutinefunction(function) else ""
    return prefix + str(inspect.Signature(parameters))


@pytest.mark.parametrize(("owner", "name"), NEEDED)
def test_amqtt_has_the_functions_that_we_need(owner: type, name: str) -> None:
    """With the parameters that we know of; each is there for a reason."""
    expected, reason = NEEDED[owner, name]
    assert signature(getattr(owner, name)) == expected, reason


def test_what_we_override_is_in_the_table() -> None:
    """And our functions take what amqtt gives them."""
    ours = {name for name in vars(EmbeddedBroker) if hasattr(Broker, name) and not name.startswith("__")}
    assert ours == {name for (owner, name), (_, reason) in NEEDED.items() if reason.startswith("overridden")}
    for name in ours:
        assert signature(getattr(EmbeddedBroker, name)) == signature(getattr(Broker, name))


def test_amqtt_is_of_the_version_that_this_was_read_from() -> None:
    """Older ones have advisories, newer ones were not read."""
    major, minor, patch = (int(part) for part in version("amqtt").split(".")[:3])
    assert (major, minor) == (0, 12)
    assert patch >= 1


def test_amqtt_knows_the_listener_that_never_listens() -> None:
    """Nothing but the endpoint may accept connections."""
    assert ListenerType.EXTERNAL.value == "external"


def test_amqtt_asks_for_nothing_but_these_three() -> None:
    """A further kind of question would be answered with None, which means no."""
    assert set(Action.__members__) == {"SUBSCRIBE", "PUBLISH", "RECEIVE"}


def test_the_errors_of_amqtt_that_end_a_connection() -> None:
    """They share no base class: each is caught by name."""
    for name in ("AMQTTError", "BrokerError", "MQTTError", "NoDataError"):
        assert issubclass(getattr(errors, name), Exception)


class Client(NamedTuple):
    """A client that the broker serves, and what it has been told."""

    identity: Operator | Hub
    told: list[str]
    client_id: str = "c"

    def delivered(self) -> None:
        """Note it."""
        self.told.append("delivered")

    def receive(self) -> None:
        """Note it."""
        self.told.append("receive")

    def subscribe(self, topic_filter: str) -> bool:
        """Note it; there is room for all filters but one."""
        self.told.append(f"subscribe {topic_filter}")
        return topic_filter != "/sys/P/d/full"

    def serving(self) -> None:
        """Note it."""
        self.told.append("serving")

    def unsubscribe(self, topic_filter: str) -> None:
        """Note it."""
        self.told.append(f"unsubscribe {topic_filter}")


class OpenBroker(EmbeddedBroker):
    """The broker, never started, with a client and what it keeps to itself in reach."""

    def __init__(self, client: Client) -> None:
        super().__init__(Directory, unacknowledged=1000)
        self.session = Session()
        self.session.client_id = client.client_id
        self.client = client
        self.arrive()

    def arrive(self) -> None:
        """The client is connected."""
        self._clients[self.client.client_id] = self.client

    def leave(self) -> None:
        """The client is connected no more."""
        del self._clients[self.client.client_id]

    def allows(self, topic: str, action: Action) -> bool:
        """What access control says, without an event loop: it must not suspend."""
        with pytest.raises(StopIteration) as finished:
            self._topic_filtering(self.session, topic, action).send(None)
        answer: bool = finished.value.value
        return answer

    def forget(self, topic_filter: str, session: Session) -> int:
        """Delete one subscription."""
        return self._del_subscription(topic_filter, session)

    async def forget_all(self) -> None:
        """Delete all subscriptions of the client, as at its end."""
        await self._del_all_subscriptions(self.session)

    async def offered(self, topic_filter: str) -> list[str]:
        """Which retained messages are looked at, to be sent to the client."""
        looked_at: list[str] = []
        self._matches = lambda topic, _: looked_at.append(topic)
        await self._publish_retained_messages_for_subscription((topic_filter, 0), self.session)
        return looked_at

    @property
    def waiting(self) -> tuple[Any, Any]:
        """Messages that wait for distribution, and deliveries under way."""
        return self._broadcast_queue, self._tasks_queue


def test_access_is_decided_without_suspending() -> None:
    """amqtt asks while it iterates its subscriptions: another subscription would break that."""

    async def ask() -> None:
        broker = OpenBroker(Client(Hub(), []))
        assert broker.allows("/sys/P/d/thing/service/x", Action.SUBSCRIBE)
        assert not broker.allows("/sys/P/d/full", Action.SUBSCRIBE)
        assert not broker.allows("not/#/a/filter", Action.SUBSCRIBE)
        assert broker.allows("/sys/P/d/thing/measurepoint/resume", Action.RECEIVE)
        assert not broker.allows("/sys/P/d/thing/service/x", Action.RECEIVE)
        assert broker.allows("/sys/P/d/thing/measurepoint/resume_reply", Action.PUBLISH)
        assert broker.client.told == [
            "subscribe /sys/P/d/thing/service/x",
            "subscribe /sys/P/d/full",
            "receive",
            "delivered",
        ]
        broker.leave()
        assert not any(broker.allows("/sys/P/d/thing/service/x", action) for action in Action)

    asyncio.run(ask())


def test_the_queues_that_the_drain_looks_at() -> None:
    """Messages that wait for distribution, and deliveries under way."""

    async def look() -> None:
        broker = OpenBroker(Client(Hub(), []))
        messages, deliveries = broker.waiting
        assert isinstance(messages, asyncio.Queue)
        assert isinstance(deliveries, collections.deque)
        seen = [(broker.undelivered, broker.is_idle)]
        await broker.internal_message_broadcast("a", b"x")
        seen.append((broker.undelivered, broker.is_idle))
        messages.get_nowait()
        delivery = asyncio.ensure_future(asyncio.sleep(0))
        deliveries.append(delivery)
        seen.append((broker.undelivered, broker.is_idle))
        await delivery
        seen.append((broker.undelivered, broker.is_idle))
        assert seen == [(0, True), (1, False), (0, False), (0, True)]

    asyncio.run(look())


def test_a_client_is_told_of_the_filters_it_gave_up() -> None:
    """Once each; those of others, and those of the end of its session, do not concern it."""

    async def give_up() -> None:
        broker = OpenBroker(Client(Operator("o", frozenset({"read"})), []))
        for topic_filter in ("a/#", "b"):
            assert await broker.add_subscription((topic_filter, 0), broker.session) == 0
        broker.client.told.clear()
        stranger = Session()
        stranger.client_id = "stranger"
        forgotten = [broker.forget(topic_filter, broker.session) for topic_filter in ("a/#", "a/#", "never")]
        assert [*forgotten, broker.forget("b", stranger)] == [1, 0, 0, 0]
        assert broker.client.told == ["unsubscribe a/#"]
        broker.leave()
        await broker.forget_all()
        assert broker.client.told == ["unsubscribe a/#"]

    asyncio.run(give_up())


def test_retained_topics_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand; those that have a message may change it or clear it, and then there is room again."""

    async def fill() -> None:
        broker = OpenBroker(Client(Hub(), []))
        for number in range(1001):
            await broker.retain_message(None, f"t/{number}", b"x")
        assert len(broker.retained_messages) == 1000
        assert "t/1000" not in broker.retained_messages
        await broker.retain_message(None, "t/0", b"y")
        assert broker.retained_messages["t/0"].data == b"y"
        await broker.retain_message(None, "t/0", b"")
        await broker.retain_message(None, "t/1000", b"x")
        assert "t/1000" in broker.retained_messages

    asyncio.run(fill())
    assert caplog.text.count("message not retained") == caplog.text.count("too many topics have one") == 1


def test_retained_bytes_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """16 MiB, topics included; who finds no room leaves what there was, and a shorter message makes room."""

    async def fill() -> None:
        broker = OpenBroker(Client(Hub(), []))
        payload = b"x" * (2**20 - 3)
        for number in range(17):
            await broker.retain_message(None, f"t{number:02}", payload)
        assert len(broker.retained_messages) == 16
        await broker.retain_message(None, "t15", payload + b"x")
        assert broker.retained_messages["t15"].data == payload
        await broker.retain_message(None, "t15", b"x")
        await broker.retain_message(None, "t16", b"x" * (2**20 - 7))
        assert len(broker.retained_messages["t16"].data) == 2**20 - 7

    asyncio.run(fill())
    assert caplog.text.count("message not retained") == 2
    assert caplog.text.count("all of them are too long together") == 2


@pytest.mark.parametrize(
    ("identity", "subscribes", "offered"),
    [
        (Operator("o", frozenset({"read"})), True, ["t"]),
        (Operator("o", frozenset({"read"})), False, []),
        (Hub(), True, []),
    ],
)
def test_retained_messages_are_for_operators_who_subscribed(
    identity: Operator | Hub, subscribes: bool, offered: list[str]
) -> None:
    """amqtt offers every new client what matches anybody's filter."""

    async def offer() -> list[str]:
        broker = OpenBroker(Client(identity, []))
        topic_filter = "/sys/P/d/#"
        if subscribes:
            assert await broker.add_subscription((topic_filter, 0), broker.session) == 0
        await broker.retain_message(None, "t", b"x")
        return await broker.offered(topic_filter)

    assert asyncio.run(offer()) == offered


def test_subscriptions_that_come_and_go_lose_no_message(enos_hub: HubFactory, caplog: pytest.LogCaptureFixture) -> None:
    """While messages are distributed: who holds a subscription gets each of them, in order."""
    hub = enos_hub(registry=REGISTRY, models=MODELS)
    rounds = [0, 0]
    enough = 20

    def come_and_go(index: int) -> None:
        with RawClient(hub) as client:
            client.connect(connect_packet(operator("reader")))
            while rounds[index] < enough:
                filters = f"other/{index}/{rounds[index]}", f"plant/{index}/{rounds[index]}/#"
                client.subscribe(*filters)
                client.unsubscribe(*filters)
                rounds[index] += 1

    threads = [threading.Thread(target=come_and_go, args=(index,)) for index in range(2)]
    with RawClient(hub) as watcher, RawClient(hub) as writer:
        for client, name in ((watcher, "reader"), (writer, "writer")):
            assert client.connect(connect_packet(operator(name))) == 0
        assert watcher.subscribe("plant/#", "plant/+") == [0, 0]
        for thread in threads:
            thread.start()
        sent = 0
        while any(thread.is_alive() for thread in threads):
            writer.publish(f"plant/{sent % 7}", b"%d" % sent)
            sent += 1
        received = [watcher.message().payload for _ in range(2 * sent)]
    assert rounds == [enough, enough]
    assert received == [b"%d" % (number // 2) for number in range(2 * sent)]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
