"""How commands come to devices: over whose connection, after what, in one copy, and what is on disk by then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from enos_ingest.clock import epoch_ms
from enos_ingest.commands.command import Command, Kind, State
from enos_ingest.commands.downlink import set_measurepoint
from enos_ingest.commands.ids import CommandIds
from enos_ingest.endpoint import sessions as sessions_module
from enos_ingest.endpoint.packets import PacketType, Publish, encode_publish
from enos_ingest.protocol.credentials import sign
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.testing.application import TestApplication
from enos_ingest.testing.hub import Hub
from tests.endpoint import inside
from tests.endpoint.raw import RawClient, connect_packet
from tests.endpoint.site import operator, resume, resume_topic
from tests.endpoint.waiting import DEADLINE, eventually

LOGIN = "/ext/session/P/gw/combine/login"
MANY = 2000

Ask = Callable[..., "Future[dict[str, Any]]"]


@pytest.fixture
def application(hub: Hub) -> TestApplication:
    """Business software that may do everything."""
    return hub.application()


@pytest.fixture
def ask() -> Iterator[Ask]:
    """Call the REST API while the device, which is the test itself, goes on."""
    with ThreadPoolExecutor() as calls:
        yield calls.submit


def topic(device: str) -> str:
    """Where `P/device` is told values."""
    return f"/sys/P/{device}/thing/service/measurepoint/set"


def connected(hub: Hub, name: str, *, clean_session: bool = True) -> RawClient:
    """A device that was let in."""
    client = RawClient(hub)
    assert client.connect(connect_packet(hub.credentials(name), clean_session=clean_session)) == 0
    return client


def command(client: RawClient, device: str, value: int) -> str:
    """The id of the command that comes next, which sets this value."""
    received = client.message()
    assert received.topic == topic(device)
    document: dict[str, Any] = orjson.loads(received.payload)
    assert document["params"] == {"n": value}
    return str(document["id"])


def answer(device: str, identifier: str, qos: int = 0) -> bytes:
    """The device did it."""
    payload = orjson.dumps({"id": identifier, "code": 200})
    return encode_publish(f"{topic(device)}_reply", payload, qos=qos, packet_id=77)


def login() -> bytes:
    """A combine.login of the one sub-device."""
    params = {
        "productKey": "P",
        "deviceKey": "sub",
        "clientId": "c",
        "timestamp": "1",
        "signMethod": "sha256",
        "sign": sign("sub-secret", "clientIdcdeviceKeysubproductKeyPtimestamp1"),
    }
    document = {"id": "1", "version": "1.0", "method": "combine.login", "params": params}
    return encode_publish(LOGIN, orjson.dumps(document), qos=1, packet_id=5)


def cached(application: TestApplication, device: str, value: int) -> str:
    """The id of a command that waits for its device."""
    identifier: str = application.set_measurepoint(f"P/{device}", "n", value, pending_ttl=600)["data"]["commandId"]
    return identifier


def state(application: TestApplication, identifier: str) -> State:
    """How far a command has come."""
    return State(application.command(identifier)["data"]["state"])


def test_what_was_cached_comes_after_connack(hub: Hub, application: TestApplication) -> None:
    """Unasked for, with QoS 1."""
    identifier = cached(application, "alone", 1)
    with RawClient(hub) as client:
        client.send(connect_packet(hub.credentials("P/alone")))
        client.expect(PacketType.CONNACK)
        received = client.message()
        assert (received.topic, received.qos) == (topic("alone"), 1)
        client.acknowledge(PacketType.PUBACK, received.packet_id)
        assert state(application, identifier) is State.RELEASED


def test_what_was_cached_for_a_sub_device_comes_after_the_reply_to_its_login(
    hub: Hub, application: TestApplication
) -> None:
    """SDKs learn by it that there is such a sub-device; what they report in the same breath is answered in its turn."""
    identifiers = [cached(application, "sub", number) for number in (1, 2)]
    with RawClient(hub) as client:
        reports = [encode_publish(resume_topic("gw"), resume(1, time=time)) for time in range(20)]
        client.send(connect_packet(hub.credentials("P/gw")), *reports, login(), *reports)
        client.expect(PacketType.CONNACK)
        for _ in reports:
            assert client.message().topic == f"{resume_topic('gw')}_reply"
        assert client.message().topic == f"{LOGIN}_reply"
        client.expect(PacketType.PUBACK)
        rest = [client.message() for _ in range(21)]
        assert [each.topic for each in rest].count(topic("sub")) == 1
        assert identifiers[0].encode() in next(each.payload for each in rest if each.topic == topic("sub"))
        client.send(answer("sub", identifiers[0]))
        assert command(client, "sub", 2) == identifiers[1]


def test_what_waits_for_a_connection_that_ends_goes_through_the_gateway(hub: Hub, application: TestApplication) -> None:
    """The device's own connection comes first, and hears nothing yet; without it there is a way at once."""
    with connected(hub, "P/gw") as gateway:
        gateway.send(login())
        assert gateway.message().topic == f"{LOGIN}_reply"
        gateway.expect(PacketType.PUBACK)
        with connected(hub, "P/sub", clean_session=False):
            identifier = cached(application, "sub", 1)
        assert command(gateway, "sub", 1) == identifier


def test_the_end_of_a_command_is_on_disk_before_its_answer_is_acknowledged(
    hub: Hub, application: TestApplication, ask: Ask
) -> None:
    """And before its caller is told; while the store fails neither happens."""
    with connected(hub, "P/alone") as client:
        waiting = ask(application.set_measurepoint, "P/alone", "n", 1)
        identifier = command(client, "alone", 1)
        with inside.locked(hub):
            client.send(answer("alone", identifier, qos=1))
            eventually(lambda: inside.store(hub).failure is not None)
            assert client.receives_nothing()
            assert not waiting.done()
        client.expect(PacketType.PUBACK)
        assert state(application, identifier) is State.SUCCESS
        assert waiting.result(DEADLINE)["code"] == 0


def test_what_asks_for_nothing_is_acknowledged_in_its_turn(hub: Hub) -> None:
    """It has nothing to store: a lock alone does not hold it up, a message before it that cannot be stored does."""
    foreign = encode_publish(f"{topic('alone')}_reply", b"{}", qos=1, packet_id=9)
    with connected(hub, "P/alone") as client, inside.locked(hub):
        client.send(foreign)
        assert client.expect(PacketType.PUBACK).body == b"\0\x09"
        client.send(encode_publish(resume_topic("alone"), resume(1), qos=1, packet_id=8), foreign)
        eventually(lambda: inside.store(hub).failure is not None)
        assert client.receives_nothing()


def test_a_newer_connection_gets_the_commands(hub: Hub, application: TestApplication, ask: Ask) -> None:
    """In one copy, and nothing of them goes to the older one."""
    with connected(hub, "P/alone") as older, connected(hub, "P/alone") as newer:
        waiting = ask(application.set_measurepoint, "P/alone", "n", 1)
        newer.send(answer("alone", command(newer, "alone", 1)))
        assert waiting.result(DEADLINE)["code"] == 0
        newer.ping()
        assert older.rest() == []


def test_a_subscription_makes_no_second_copy_and_caps_the_qos(hub: Hub, application: TestApplication, ask: Ask) -> None:
    """As for replies."""
    with connected(hub, "P/alone") as client:
        client.subscribe(topic("alone"), "/sys/+/+/thing/service/#", qos=0)
        waiting = ask(application.set_measurepoint, "P/alone", "n", 1)
        received = client.message()
        assert received.qos == 0
        client.send(answer("alone", orjson.loads(received.payload)["id"]))
        assert waiting.result(DEADLINE)["code"] == 0
        client.ping()


def test_who_unsubscribes_gets_no_commands_until_it_subscribes_again(hub: Hub, application: TestApplication) -> None:
    """Cached ones wait for that, also those of a sub-device."""
    with connected(hub, "P/gw") as client:
        client.send(login())
        client.message()
        client.expect(PacketType.PUBACK)
        client.unsubscribe(topic("gw"), topic("sub"))
        for device in ("gw", "sub"):
            assert application.set_measurepoint(f"P/{device}", "n", 1)["code"] == 11900
            cached(application, device, 2)
        client.ping()
        for device in ("sub", "gw"):
            client.subscribe(topic(device))
            command(client, device, 2)
        client.ping()


def test_a_client_that_subscribes_is_given_time_to(
    hub: Hub, application: TestApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would drop a command that came before its subscription; one that never subscribes gets them afterwards."""
    cached(application, "gw", 1)
    cached(application, "sub", 2)
    with connected(hub, "P/gw", clean_session=False) as client:
        client.subscribe("/sys/P/gw/thing/service/other")
        client.ping()
        assert application.set_measurepoint("P/gw", "n", 3)["code"] == 11900
        client.subscribe(topic("gw"))
        identifier = command(client, "gw", 1)
        client.send(answer("gw", identifier))
        # The time of a sub-device begins with its login.
        client.send(login())
        client.message()
        client.expect(PacketType.PUBACK)
        client.ping()
    monkeypatch.setattr(sessions_module, "_SUBSCRIBE_SECONDS", 0.1)
    with connected(hub, "P/gw", clean_session=False) as client:
        client.send(login())
        assert client.message().topic == f"{LOGIN}_reply"
        client.expect(PacketType.PUBACK)
        command(client, "sub", 2)


def test_the_time_to_subscribe_ends_with_the_connection(hub: Hub) -> None:
    """Nothing of it is left, and a login again within it begins it anew."""
    with connected(hub, "P/gw", clean_session=False) as client:
        for _ in range(3):
            client.send(login())
            client.message()
            client.expect(PacketType.PUBACK)
        session = inside.session(hub, "P/gw")
        assert session.delivery.deaf == 2
    eventually(lambda: inside.online(hub) == 0)
    assert not session.delivery.deaf


def test_a_device_that_acknowledges_nothing_gets_commands_with_qos_0(hub: Hub, application: TestApplication) -> None:
    """Beyond what is remembered of it."""
    limit = hub.settings.limits.unacknowledged
    with connected(hub, "P/alone") as client:
        client.send(
            *(encode_publish(resume_topic("alone"), resume(1), qos=1, packet_id=1 + each) for each in range(limit))
        )
        for _ in range(limit):
            assert client.message().qos == 1
            client.expect(PacketType.PUBACK)
        cached(application, "alone", 1)
        assert client.message().qos == 0


def test_operators_see_commands_and_answers(hub: Hub, application: TestApplication, ask: Ask) -> None:
    """Once each."""
    with connected(hub, "P/alone") as client, RawClient(hub) as watcher:
        assert watcher.connect(connect_packet(operator("reader"))) == 0
        watcher.subscribe("#")
        waiting = ask(application.set_measurepoint, "P/alone", "n", 1)
        client.send(answer("alone", command(client, "alone", 1)))
        assert waiting.result(DEADLINE)["code"] == 0
        seen: list[Publish] = [watcher.message(), watcher.message()]
        assert [each.topic for each in seen] == [topic("alone"), f"{topic('alone')}_reply"]
        watcher.ping()


def test_an_operator_can_answer_for_nobody(hub: Hub, application: TestApplication, ask: Ask) -> None:
    """Whatever it may publish, a command is answered by devices alone."""
    with connected(hub, "P/alone") as client, RawClient(hub) as writer:
        assert writer.connect(connect_packet(operator("writer"))) == 0
        waiting = ask(application.set_measurepoint, "P/alone", "n", 1, timeout=3)
        writer.send(answer("alone", command(client, "alone", 1)))
        writer.ping()
        assert waiting.result(DEADLINE)["code"] == 11915


def test_thousands_of_instant_commands_wait_at_once_and_each_gets_its_own_answer(hub: Hub) -> None:
    """Also where every second caller has hung up; nothing is left afterwards."""
    device = DeviceId("P", "alone")
    ids = CommandIds(0, epoch_ms)

    def made(number: int) -> Command:
        identifier = ids.next()
        packet = set_measurepoint(identifier, device, "n", number)
        kind = Kind.SET_MEASUREPOINT
        return Command(identifier, device, kind, "n", number, *packet, 30, 0, epoch_ms(), "tests")

    async def run() -> list[Command | BaseException]:
        tasks = [asyncio.ensure_future(inside.dispatcher(hub).run(made(number))) for number in range(MANY)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    with connected(hub, "P/alone") as client:
        running = inside.begin_inside(hub, run())
        documents = [orjson.loads(client.message().payload) for _ in range(MANY)]
        assert inside.dispatcher(hub).waiting == MANY
        for document in reversed(documents):
            message = orjson.dumps({"id": document["id"], "code": 200, "message": str(document["params"]["n"])})
            client.send(encode_publish(f"{topic('alone')}_reply", message))
        found = running.result(DEADLINE)
        for number, ended in enumerate(found):
            if number % 2:
                assert isinstance(ended, Command)
                assert (ended.input, ended.state) == (number, State.SUCCESS)
            else:
                assert isinstance(ended, asyncio.CancelledError)
        eventually(lambda: inside.dispatcher(hub).waiting == 0)
