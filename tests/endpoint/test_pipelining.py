"""Clients that wait for nothing: packets that come before the hub has answered those before them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import orjson
import pytest

from enos_ingest.devices.directory import Directory, OperatorAccount
from enos_ingest.devices.passwords import hash_password
from enos_ingest.endpoint import authentication, relays
from enos_ingest.endpoint.authentication import Authenticator, Refused
from enos_ingest.endpoint.packets import Connect, PacketType, encode_publish
from enos_ingest.protocol.credentials import make_credentials
from enos_ingest.protocol.identity import DeviceId, Operator
from enos_ingest.testing.hub import Hub, run_hub
from tests.endpoint import inside
from tests.endpoint.raw import (
    DISCONNECT,
    PINGREQ,
    RawClient,
    connect_packet,
    subscribe_packet,
    unsubscribe_packet,
)
from tests.endpoint.site import MODELS, REGISTRY, operator, resume, resume_topic
from tests.endpoint.waiting import eventually

TOPIC = resume_topic("alone")
REPLY = f"{TOPIC}_reply"
CONNECT = connect_packet(make_credentials(DeviceId("P", "alone"), "alone-secret", 1))
OPERATOR = connect_packet(operator("alice"), client_id="bench")
both = pytest.mark.parametrize("connect", [CONNECT, OPERATOR], ids=["device", "operator"])


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """One hub for all: each test leaves nothing behind, which is what some of them are about."""
    with run_hub(registry=REGISTRY, models=MODELS) as running:
        yield running


def reply(client: RawClient) -> str:
    """The id of the next reply, whatever acknowledgements come before it."""
    while True:
        received = client.receive()
        assert received is not None
        if received.kind is PacketType.PUBLISH:
            found: str = orjson.loads(received.publish.payload)["id"]
            return found


@both
@pytest.mark.parametrize("count", [1, 30, 150])
def test_a_publish_comes_after_all_subscriptions_before_it(hub: Hub, count: int, connect: bytes) -> None:
    """The Python SDK subscribes, for its sub-devices too, and publishes without waiting for a single SUBACK."""
    filters = [f"/sys/P/alone/thing/{number}_reply" for number in range(count - 1)] + [REPLY]
    with RawClient(hub) as client:
        client.send(
            connect,
            *[subscribe_packet(topic_filter, packet_id=1 + number) for number, topic_filter in enumerate(filters)],
            encode_publish(TOPIC, resume(1, identifier="first"), qos=1, packet_id=999),
        )
        assert reply(client) == "first"


@both
def test_a_filter_that_is_given_up_and_taken_again_is_held(hub: Hub, connect: bytes) -> None:
    """In the order of the packets, however fast they come."""
    with RawClient(hub) as client:
        client.connect(connect)
        client.subscribe(REPLY)
        client.send(
            *[unsubscribe_packet(REPLY, packet_id=2), subscribe_packet(REPLY, packet_id=3)] * 20,
            encode_publish(TOPIC, resume(1, identifier="after"), qos=1, packet_id=4),
        )
        assert reply(client) == "after"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        PINGREQ,
        DISCONNECT,
        subscribe_packet(REPLY),
        encode_publish(TOPIC, resume(1), qos=2, packet_id=1),
    ],
    ids=["connect", "ping", "disconnect", "subscribe", "publish"],
)
@pytest.mark.parametrize("half", [False, True], ids=["closed", "half closed"])
@both
def test_a_client_that_is_gone_at_once_leaves_nothing(hub: Hub, sent: bytes, half: bool, connect: bytes) -> None:
    """And its client id is free again: a device keeps its own over a crash."""
    for _ in range(5):
        with RawClient(hub) as client:
            client.send(connect + sent)
            if half:
                client.finish()
                client.rest()
    eventually(lambda: inside.connections(hub) == inside.online(hub) == 0)
    eventually(lambda: inside.sessions(hub) == (1, 1))
    with RawClient(hub) as client:
        assert client.connect(connect) == 0


@both
def test_a_client_that_comes_back_at_once_is_let_in(hub: Hub, connect: bytes) -> None:
    """However fast: an operator's connection takes over from one that the broker is not even ready to read."""
    clients = [RawClient(hub) for _ in range(20)]
    for client in clients:
        client.send(connect)
    assert clients[-1].expect(PacketType.CONNACK).body[1] == 0
    clients[-1].ping()
    for client in clients:
        client.socket.close()
    eventually(lambda: inside.connections(hub) == 0)


def test_a_connection_that_does_not_end_is_cut_off(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever keeps an operator's, that operator gets in again."""
    monkeypatch.setattr(relays, "_TAKE_OVER_SECONDS", 0.05)
    connect = connect_packet(operator("alice"), client_id="c")
    with RawClient(hub) as old, RawClient(hub) as new:
        assert old.connect(connect) == 0
        monkeypatch.setattr(inside.relays(hub)["alice"], "close", lambda _: None)
        assert new.connect(connect) == 0
        assert old.rest() == []
        new.ping()


def test_filters_that_come_and_go_leave_nothing(hub: Hub) -> None:
    """amqtt looks at every filter for every message, a session remembers no more than its limit of those it ended."""
    eventually(lambda: inside.connections(hub) == 0)
    before = len(inside.broker(hub).subscriptions)
    with RawClient(hub) as client:
        client.connect(connect_packet(operator("alice")))
        for number in range(300):
            topic_filter = f"/sys/P/alone/thing/{number}"
            client.send(subscribe_packet(topic_filter), unsubscribe_packet(topic_filter))
        for _ in range(300):
            client.expect(PacketType.SUBACK)
            client.expect(PacketType.UNSUBACK)
        assert len(inside.broker(hub).subscriptions) == before


def operators(name: str, password: str) -> tuple[Authenticator, Connect]:
    """An authenticator that knows one operator, and a CONNECT as that one."""
    account = OperatorAccount("alice", hash_password("right"), frozenset({"read"}))
    authenticator = Authenticator(lambda: Directory(operators=[account]), anonymous=False)
    return authenticator, Connect("c", True, 0, name, password.encode(), None, b"", 0, False)


def test_more_logins_than_can_be_hashed_are_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator who was let in lately gets in all the same, and nobody waits without end."""
    authenticator, right = operators("alice", "right")
    stranger = Connect("c", True, 0, "nobody", b"wrong", None, b"", 0, False)
    going_on = threading.Event()

    async def main() -> None:
        assert await authenticator.operator(right) == Operator("alice", frozenset({"read"}))
        # Hashing that does not end until we say so: a flood that is ahead of the machine.
        monkeypatch.setattr(authentication, "verify_password", lambda *_: going_on.wait() and False)
        flood = [asyncio.create_task(authenticator.operator(stranger)) for _ in range(40)]
        try:
            done, _ = await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
            assert {task.exception().code for task in done} == {3}  # type: ignore[union-attr]
            assert await authenticator.operator(right) == Operator("alice", frozenset({"read"}))
        finally:
            going_on.set()
            codes = [outcome.code for outcome in await asyncio.gather(*flood, return_exceptions=True)]  # type: ignore[union-attr]
        assert sorted(set(codes)) == [3, 4]

    asyncio.run(main())


def test_a_password_is_compared_although_it_was_right_lately() -> None:
    """What is remembered is that this very password was."""
    authenticator, right = operators("alice", "right")
    wrong = Connect("c", True, 0, "alice", b"wrong", None, b"", 0, False)

    async def main() -> None:
        await authenticator.operator(right)
        with pytest.raises(Refused, match="wrong password"):
            await authenticator.operator(wrong)

    asyncio.run(main())
