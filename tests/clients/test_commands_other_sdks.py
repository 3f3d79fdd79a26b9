"""Commands to devices that speak as the SDKs in C, Node.js and Java do, byte by byte.

Those run on none of the machines that test us; what they send was captured from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from enos_ingest.commands.command import State
from enos_ingest.endpoint.packets import PacketType, Publish, encode_ack, encode_publish
from enos_ingest.testing.application import TestApplication
from enos_ingest.testing.hub import Hub
from tests.clients.wire import digest
from tests.clients.world import GATEWAY, INVERTER, REGISTRY, SECRETS, SUB_1
from tests.endpoint.raw import RawClient, connect_packet
from tests.process import PATIENCE, eventually

SERVICES = f"/sys/{INVERTER}/thing/service"
SET = f"{SERVICES}/measurepoint/set"

Ask = Callable[..., "Future[dict[str, Any]]"]


@pytest.fixture
def hub(enos_hub: Callable[..., Hub]) -> Hub:
    """A hub with a device that has been online before."""
    started = enos_hub(registry=REGISTRY)
    for name in (INVERTER, GATEWAY):
        started.connect(name).disconnect()
    return started


@pytest.fixture
def application(hub: Hub) -> TestApplication:
    """Business software that may do everything."""
    return hub.application()


@pytest.fixture
def ask() -> Iterator[Ask]:
    """Call the REST API while the device, which is the test itself, goes on."""
    with ThreadPoolExecutor() as calls:
        yield calls.submit


def command(client: RawClient) -> Publish:
    """The next command, acknowledged where it asks for that."""
    publish = client.message()
    if publish.qos:
        client.send(encode_ack(PacketType.PUBACK, publish.packet_id))
    return publish


def document(publish: Publish) -> dict[str, Any]:
    """What a command holds."""
    found: dict[str, Any] = orjson.loads(publish.payload)
    return found


# C: clean_session 0, one filter a packet, QoS 0 for everything, always code 200 with empty data.

C_FILTERS = (
    f"/ext/session/{INVERTER}/combine/login_reply",
    f"/sys/{INVERTER}/thing/measurepoint/post_reply",
    f"/sys/{INVERTER}/thing/event/+/post_reply",
    f"/sys/{INVERTER}/thing/measurepoint/resume_reply",
)
"""Some of those that it asks for before it comes to commands."""


def c_device(hub: Hub) -> RawClient:
    """The SDK in C, connected, and subscribed to nothing yet."""
    client = RawClient(hub)
    assert client.connect(connect_packet(hub.credentials(INVERTER), clean_session=False, keep_alive=60)) == 0
    return client


def c_answer(publish: Publish) -> bytes:
    """Its answer."""
    payload = b'{"id":"%s","code":200,"data":{}}' % document(publish)["id"].encode()
    return encode_publish(f"{publish.topic}_reply", payload)


def test_the_c_sdk_gets_its_commands_once_it_has_subscribed(hub: Hub, application: TestApplication, ask: Ask) -> None:
    """What was cached waits for the filter that covers it, and an instant command is refused until then."""
    cached = application.set_measurepoint(INVERTER, "temp", 1, pending_ttl=60)["data"]["commandId"]
    with c_device(hub) as client:
        for number, topic_filter in enumerate(C_FILTERS, 1):
            assert client.subscribe(topic_filter, packet_id=number) == [0]
        client.ping()
        assert application.set_measurepoint(INVERTER, "temp", 2)["code"] == 11900
        assert client.subscribe(SET, packet_id=27) == [0]
        first = command(client)
        assert (first.topic, first.qos) == (SET, 0)
        assert document(first) == {
            "id": cached,
            "version": "1.0",
            "method": "thing.service.measurepoint.set",
            "params": {"temp": 1},
        }
        assert application.invoke_service(INVERTER, "restart")["code"] == 11900, "its filter is still to come"
        client.send(c_answer(first))
        assert client.subscribe(f"{SERVICES}/+", packet_id=28) == [0]
        waiting = ask(application.invoke_service, INVERTER, "restart", {"delay": 3})
        second = command(client)
        assert (second.topic, document(second)["params"]) == (f"{SERVICES}/restart", {"delay": 3})
        client.send(c_answer(second))
        assert waiting.result(PATIENCE)["code"] == 0
        assert application.command(cached)["data"]["state"] == State.SUCCESS
        client.ping()


def test_the_c_sdk_gets_one_copy_of_what_two_filters_cover(hub: Hub, application: TestApplication, ask: Ask) -> None:
    """A build option has it ask for `/sys/+/+/...` as well."""
    with c_device(hub) as client:
        for number, topic_filter in enumerate((SET, "/sys/+/+/thing/service/measurepoint/set", f"{SERVICES}/#"), 1):
            assert client.subscribe(topic_filter, packet_id=number) == [0]
        waiting = ask(application.set_measurepoint, INVERTER, "temp", 2)
        only = command(client)
        client.send(c_answer(only))
        assert waiting.result(PATIENCE)["code"] == 0
        client.ping()


def test_the_c_sdk_may_not_want_values(hub: Hub, application: TestApplication) -> None:
    """Its option RECV_THING_REPLY = 0 unsubscribes from them: nothing is sent, and the caller is told at once."""
    with c_device(hub) as client:
        assert client.subscribe(SET) == [0]
        client.unsubscribe(SET)
        assert application.set_measurepoint(INVERTER, "temp", 2)["code"] == 11900
        client.ping()


def test_the_c_sdk_answers_each_of_two_commands(hub: Hub, application: TestApplication, ask: Ask) -> None:
    """Instant commands go out side by side and are told apart by their ids, in whatever order it answers."""
    with c_device(hub) as client:
        client.subscribe(SET)
        calls = [ask(application.set_measurepoint, INVERTER, "temp", number) for number in range(2)]
        commands = [command(client) for _ in calls]
        assert {document(each)["params"]["temp"] for each in commands} == {0, 1}
        client.send(*map(c_answer, reversed(commands)))
        found = {call.result(PATIENCE)["data"]["commandId"] for call in calls}
        assert found == {document(each)["id"] for each in commands}


# Node.js: clean_session 1, no subscription, replies with QoS 0 and without `message`; silent where it has no handler.


def node_device(hub: Hub) -> RawClient:
    """The SDK for Node.js, connected."""
    client = RawClient(hub)
    assert client.connect(connect_packet(hub.credentials(INVERTER), keep_alive=60)) == 0
    return client


@pytest.mark.parametrize(
    ("code", "expected"), [(b"200", 0), (b"0", 0), (b"405", 11999), (b"101", 11999), (b"2000", 11999)]
)
def test_the_node_sdk_replies_with_qos_0(
    hub: Hub, application: TestApplication, ask: Ask, code: bytes, expected: int
) -> None:
    """Without a word about why; its samples use codes of their own."""
    with node_device(hub) as client:
        waiting = ask(application.set_measurepoint, INVERTER, "temp", 1.25)
        sent = command(client)
        assert sent.qos == 1
        assert document(sent)["params"] == {"temp": 1.25}
        identifier = document(sent)["id"].encode()
        client.send(encode_publish(f"{SET}_reply", b'{"id":"%s","code":%s,"data":{}}' % (identifier, code)))
        answer = waiting.result(PATIENCE)
        assert answer["code"] == expected
        if expected:
            assert answer["data"]["deviceCode"] == int(code)
            assert answer["data"]["deviceMessage"] == ""


def test_the_node_sdk_is_told_by_ids_that_its_own_requests_never_have(
    hub: Hub, application: TestApplication, ask: Ask
) -> None:
    """It takes a command for the reply to a request of that id: its ids are small, those of commands have 18 digits."""
    with node_device(hub) as client:
        calls = [ask(application.set_measurepoint, INVERTER, "temp", number) for number in range(3)]
        identifiers = [document(command(client))["id"] for _ in calls]
        assert all(len(each) == 18 and each.isdigit() and each[0] != "0" for each in identifiers)
        for each in identifiers:
            client.send(encode_publish(f"{SET}_reply", b'{"id":"%s","code":200,"data":{}}' % each.encode()))
        assert [call.result(PATIENCE)["code"] for call in calls] == [0] * 3


@pytest.mark.parametrize("sub_device", [False, True])
def test_the_node_sdk_says_who_handles_commands_once_it_is_connected(
    enos_hub: Callable[..., Hub], sub_device: bool
) -> None:
    """So its samples do, and Java's: what was cached, which it would drop or answer 1101, is not sent before that.

    Who has subscribed is ready.
    """
    hub = enos_hub(registry=REGISTRY, settings={"commands.settle_seconds": 60.0})
    device, sender = (SUB_1, GATEWAY) if sub_device else (INVERTER, INVERTER)
    application = hub.application()
    hub.connect(sender).disconnect()
    with hub.connect(GATEWAY) as gateway:
        gateway.login(SUB_1, SECRETS[SUB_1])
    cached = application.set_measurepoint(device, "temp", 1, pending_ttl=60)["data"]["commandId"]
    with RawClient(hub) as client:
        assert client.connect(connect_packet(hub.credentials(sender), keep_alive=60)) == 0
        if sub_device:
            login_sub_device(client)
        client.ping()
        assert application.command(cached)["data"]["state"] == State.CREATED
        topic = f"/sys/{device}/thing/service/measurepoint/set"
        assert client.subscribe(topic) == [0]
        assert document(command(client))["id"] == cached


def login_sub_device(client: RawClient) -> None:
    """Log the first sub-device in, as the SDK for Node.js does."""
    content = {**dict(zip(("productKey", "deviceKey"), SUB_1.split("/"), strict=True)), "clientId": "sub001"}
    content["timestamp"] = "1795221828072"
    params = {**content, "signMethod": "sha256", "sign": digest(content, SECRETS[SUB_1], upper=True)}
    topic = f"/ext/session/{GATEWAY}/combine/login"
    request = {"id": "1", "version": "1.0", "method": "combine.login", "params": params}
    client.send(encode_publish(topic, orjson.dumps(request)))
    assert document(client.message())["code"] == 200


# Java: no `data`, a number as code with a message, QoS 0; 1101 without a handler, 1102 where it raises.


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (200, "", 0),
        (1101, "downstream command handler not registered", 11999),
        (1102, "command handler execution failed", 11999),
        (2001, "limit too low", 11999),
    ],
)
def test_the_java_sdk_replies_without_data(
    hub: Hub, application: TestApplication, ask: Ask, code: int, message: str, expected: int
) -> None:
    """For a value as for a service that puts nothing out."""
    with node_device(hub) as client:
        calls = (application.set_measurepoint, INVERTER, "temp", 1), (application.invoke_service, INVERTER, "restart")
        for call in calls:
            waiting = ask(*call)
            sent = command(client)
            reply = orjson.dumps({"code": code, "id": document(sent)["id"], "message": message})
            client.send(encode_publish(f"{sent.topic}_reply", reply))
            answer = waiting.result(PATIENCE)
            assert answer["code"] == expected
            if expected:
                assert (answer["data"]["deviceCode"], answer["data"]["deviceMessage"]) == (code, message)


def test_a_service_that_must_put_something_out_does_not(hub: Hub, application: TestApplication, ask: Ask) -> None:
    """A reply without the outputs that the thing model requires fails the command, whatever its code."""
    with node_device(hub) as client:
        waiting = ask(application.invoke_service, INVERTER, "limitPower", {"limit": 1})
        sent = command(client)
        identifier = document(sent)["id"]
        client.send(encode_publish(f"{sent.topic}_reply", orjson.dumps({"code": 200, "id": identifier})))
        answer = waiting.result(PATIENCE)
        assert answer["code"] == 11999
        assert "applied" in answer["data"]["deviceMessage"]
        assert application.command(identifier)["data"]["state"] == State.FAILED


# What no SDK should do, and some device will.


def reply(publish: Publish, **fields: Any) -> bytes:
    """An answer to a command with some fields in place of the usual ones."""
    return orjson.dumps({"id": document(publish)["id"], "code": 200, "data": {}, **fields})


def test_answers_of_others_have_no_effect(hub: Hub, application: TestApplication, ask: Ask) -> None:
    """Another device, another topic, another id, a second answer: the command waits for its own, and that counts."""
    with node_device(hub) as client, RawClient(hub) as other:
        assert other.connect(connect_packet(hub.credentials(GATEWAY))) == 0
        waiting = ask(application.set_measurepoint, INVERTER, "temp", 1)
        sent = command(client)
        other.publish(f"{SET}_reply", reply(sent))
        other.publish(f"/sys/{GATEWAY}/thing/service/measurepoint/set_reply", reply(sent))
        client.publish(f"{SERVICES}/restart_reply", reply(sent))
        client.publish(f"{SET}_reply", reply(sent, id="123456789012345678"))
        assert not waiting.done()
        client.publish(f"{SET}_reply", reply(sent, code=7, message="mine"))
        assert waiting.result(PATIENCE)["data"]["deviceMessage"] == "mine"
        client.publish(f"{SET}_reply", reply(sent))
        assert application.command(document(sent)["id"])["data"]["state"] == State.FAILED


def test_an_answer_that_comes_late_has_no_effect(hub: Hub, application: TestApplication, ask: Ask) -> None:
    """The command has ended when its time was over, and so it stays."""
    with node_device(hub) as client:
        waiting = ask(application.set_measurepoint, INVERTER, "temp", 1, timeout=3)
        sent = command(client)
        assert waiting.result(PATIENCE)["code"] == 11915
        client.publish(f"{SET}_reply", reply(sent))
        assert application.command(document(sent)["id"])["data"]["state"] == State.TIMED_OUT
        client.ping()


def test_a_sub_device_is_answered_for_by_its_gateway_alone(hub: Hub, application: TestApplication, ask: Ask) -> None:
    """Its command comes over the gateway's connection, without a subscription, and another device's answer is none."""
    topic = f"/sys/{SUB_1}/thing/service/measurepoint/set"
    with hub.connect(GATEWAY) as gateway, node_device(hub) as stranger:
        assert gateway.login(SUB_1, SECRETS[SUB_1])["code"] == 200
        waiting = ask(application.set_measurepoint, SUB_1, "temp", 1)
        received = gateway.next_command(PATIENCE)
        assert received.topic == topic
        stranger.publish(f"{topic}_reply", orjson.dumps({"id": received.id, "code": 200, "data": {}}))
        assert not waiting.done()
        gateway.answer(received, 9)
        assert waiting.result(PATIENCE)["data"]["deviceCode"] == 9
        gateway.logout(SUB_1)
        eventually(lambda: application.set_measurepoint(SUB_1, "temp", 1)["code"] == 11900)
