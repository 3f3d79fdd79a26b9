"""The official Python SDK from PyPI, unmodified, as the device that values and service calls are sent to.

It subscribes to no command. Its replies have `data` and `message` also where they are null, and a code that is text
where the SDK itself makes the reply.
"""

from __future__ import annotations

import queue
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from enos.message.downstream.tsl.MeasurepointSetCommand import MeasurepointSetCommand
from enos.message.downstream.tsl.MeasurepointSetReply import MeasurepointSetReply
from enos.message.downstream.tsl.ServiceInvocationCommand import ServiceInvocationCommand
from enos.message.downstream.tsl.ServiceInvocationReply import ServiceInvocationReply

from enos_ingest.commands.command import State
from enos_ingest.testing.application import TestApplication
from enos_ingest.testing.hub import Hub
from tests.clients.proxy import proxy
from tests.clients.python_sdk import Connect, login
from tests.clients.world import GATEWAY, INVERTER, SUB_1
from tests.process import PATIENCE, eventually

# The SDK asks paho for callbacks of its first version; nothing else may warn.
pytestmark = pytest.mark.filterwarnings("ignore:Callback API version 1 is deprecated:DeprecationWarning")


@pytest.fixture
def application(hub: Hub) -> TestApplication:
    """Business software that may do everything."""
    return hub.application()


class Program:
    """What a user of the SDK writes: handlers that note what they get, and reply.

    Args:
        code, message: of the replies; without a code the SDK's builder has 0.
        answers: whether there are replies at all.
    """

    def __init__(self, code: int | None = 200, message: str = "", *, answers: bool = True) -> None:
        self.heard: queue.SimpleQueue[tuple[tuple[str, ...], str, Any]] = queue.SimpleQueue()
        """What the topic holds, the id and the params of each command."""
        self.handlers = {MeasurepointSetCommand: self.set, ServiceInvocationCommand: self.invoke}
        self._code = code
        self._message = message
        self._answers = answers

    def set(self, command: Any, path: Any) -> Any:
        """The handler of `setMeasurepoint`."""
        self._note(command, path)
        return self._finish(MeasurepointSetReply.builder()) if self._answers else None

    def invoke(self, command: Any, path: Any) -> Any:
        """The handler of `invokeService`; `limitPower` applies a tenth less than it is told."""
        params = self._note(command, path)
        builder = ServiceInvocationReply.builder()
        if "limit" in params:
            builder.add_output_data("applied", params["limit"] * 0.9)
        return self._finish(builder) if self._answers else None

    def next(self) -> tuple[tuple[str, ...], str, Any]:
        """The next command, which must come."""
        return self.heard.get(timeout=PATIENCE)

    def _note(self, command: Any, path: Any) -> Any:
        # Where the topic matches one pattern only once, the SDK hands over what it holds in a list.
        found = path[0] if isinstance(path[0], tuple) else path
        self.heard.put((tuple(found), command.get_id(), command.get_params()))
        return command.get_params()

    def _finish(self, builder: Any) -> Any:
        if self._code is not None:
            builder.set_code(self._code)
        return builder.set_message(self._message).build()


def state(application: TestApplication, command: str) -> State:
    """How far a command has come."""
    return State(application.command(command)["data"]["state"])


@pytest.mark.parametrize(
    ("measurepoint", "value"),
    [
        ("INV.GenActivePW", 1.5),
        ("INV.GenActivePW", 3),
        ("INV.GridConnected", False),
        ("branchCurr", ["1.02", 2.02]),
        ("INV.State", 1),
    ],
    ids=str,
)
def test_a_value_reaches_the_handler(
    connect: Connect, application: TestApplication, measurepoint: str, value: Any
) -> None:
    """The handler gets the value as it was written, under the id that the caller is told; its reply is success."""
    program = Program()
    connect(INVERTER, handlers=program.handlers)
    answer = application.set_measurepoint(INVERTER, measurepoint, value)
    assert (answer["code"], answer["msg"]) == (0, "Success")
    command = answer["data"]["commandId"]
    assert program.next() == (tuple(INVERTER.split("/")), command, {measurepoint: value})
    assert state(application, command) is State.SUCCESS


def test_a_service_returns_its_outputs(connect: Connect, application: TestApplication) -> None:
    """invokeService hands the inputs over and returns what the handler put out; a service may have neither."""
    program = Program()
    connect(INVERTER, handlers=program.handlers)
    answer = application.invoke_service(INVERTER, "limitPower", {"limit": 50.0})
    assert answer["code"] == 0
    assert answer["data"]["outputData"] == {"applied": 45.0}
    assert program.next() == ((*INVERTER.split("/"), "limitPower"), answer["data"]["commandId"], {"limit": 50.0})
    assert application.invoke_service(INVERTER, "restart")["code"] == 0
    assert program.next()[2] == {}


def test_a_reply_without_a_code_is_success(connect: Connect, application: TestApplication) -> None:
    """The SDK's builder has code 0 where a program sets none."""
    connect(INVERTER, handlers=Program(code=None).handlers)
    assert application.set_measurepoint(INVERTER, "temp", 1)["code"] == 0


def test_a_program_refuses(connect: Connect, application: TestApplication) -> None:
    """A code of the program's own fails the command; the caller is told code and message, and so is who looks later."""
    connect(INVERTER, handlers=Program(2001, "the breaker is open").handlers)
    for answer in (
        application.set_measurepoint(INVERTER, "temp", 1),
        application.invoke_service(INVERTER, "limitPower", {"limit": 50.0}),
    ):
        assert answer["code"] == 11999
        command = answer["data"].pop("commandId")
        assert answer["data"] == {"deviceCode": 2001, "deviceMessage": "the breaker is open"}
        assert state(application, command) is State.FAILED


def test_a_handler_that_raises(connect: Connect, application: TestApplication) -> None:
    """The SDK replies with the code "500", which is text, and the words of the exception."""

    def fail(_: Any, __: Any) -> None:
        raise ValueError("no such register")

    connect(INVERTER, handlers={MeasurepointSetCommand: fail})
    answer = application.set_measurepoint(INVERTER, "temp", 1)
    assert (answer["code"], answer["data"]["deviceCode"]) == (11999, 500)
    assert "no such register" in answer["data"]["deviceMessage"]


def test_no_handler(connect: Connect, application: TestApplication) -> None:
    """The SDK replies with the code "1101" to what nobody has registered for."""
    connect(INVERTER)
    for answer in (
        application.set_measurepoint(INVERTER, "temp", 1),
        application.invoke_service(INVERTER, "restart"),
    ):
        assert (answer["code"], answer["data"]["deviceCode"]) == (11999, 1101)
        assert answer["data"]["deviceMessage"] == "downstream command handler not registered"


def test_no_answer(connect: Connect, application: TestApplication) -> None:
    """A handler that returns nothing is no answer: once the time is over the caller is told so."""
    program = Program(answers=False)
    connect(INVERTER, handlers=program.handlers)
    answer = application.set_measurepoint(INVERTER, "temp", 1, timeout=3)
    assert (answer["code"], answer["data"]) == (11915, {"commandId": program.next()[1]})
    assert state(application, answer["data"]["commandId"]) is State.TIMED_OUT


def test_a_device_that_is_not_there(connect: Connect, application: TestApplication) -> None:
    """Never activated, then online, then offline: nothing is sent in the first case and the last."""
    assert application.set_measurepoint(INVERTER, "temp", 1)["code"] == 11888
    program = Program()
    client = connect(INVERTER, handlers=program.handlers)
    assert application.set_measurepoint(INVERTER, "temp", 2)["code"] == 0
    client.disconnect()
    eventually(lambda: application.set_measurepoint(INVERTER, "temp", 3)["code"] == 11900)
    client.reconnect()
    assert application.set_measurepoint(INVERTER, "temp", 4)["code"] == 0
    assert [program.next()[2] for _ in range(2)] == [{"temp": 2}, {"temp": 4}]
    assert program.heard.empty()


def test_cached_commands_wait_for_the_device(connect: Connect, application: TestApplication) -> None:
    """They return at once, and reach the device in order when it connects: those of before, and an instant one last."""
    program = Program()
    cached = [application.set_measurepoint(INVERTER, "temp", number, pending_ttl=600) for number in range(5)]
    cached.append(application.invoke_service(INVERTER, "restart", {"delay": 5}, pending_ttl=600))
    assert [answer["code"] for answer in cached] == [0] * 6
    commands = [answer["data"]["commandId"] for answer in cached]
    assert [state(application, command) for command in commands] == [State.CREATED] * 6
    connect(INVERTER, handlers=program.handlers)
    assert [program.next()[1:] for _ in range(6)] == [
        *((command, {"temp": number}) for number, command in enumerate(commands[:5])),
        (commands[5], {"delay": 5}),
    ]
    assert application.set_measurepoint(INVERTER, "temp", 6)["code"] == 0
    assert [state(application, command) for command in commands] == [State.SUCCESS] * 6
    assert program.next()[2] == {"temp": 6}
    assert program.heard.empty()


def test_cached_commands_wait_for_the_sdk_to_come_back(
    hub: Hub, connect: Connect, application: TestApplication
) -> None:
    """Its network is cut, it connects again by itself, and gets what was cached meanwhile."""
    program = Program()
    with proxy((hub.host, hub.port)) as network:
        connect(INVERTER, handlers=program.handlers, via=network)
        assert application.set_measurepoint(INVERTER, "temp", 1)["code"] == 0
        network.cut()
        assert application.set_measurepoint(INVERTER, "temp", 2, pending_ttl=600)["code"] == 0
        assert application.set_measurepoint(INVERTER, "temp", 3, pending_ttl=600)["code"] == 0
        assert [program.next()[2] for _ in range(3)] == [{"temp": 1}, {"temp": 2}, {"temp": 3}]


def test_a_sub_device_is_reached_through_its_gateway(connect: Connect, application: TestApplication) -> None:
    """Its commands come over the gateway's connection once that has logged it in, and are answered there."""
    program = Program()
    gateway = connect(GATEWAY, handlers=program.handlers)
    waiting = application.set_measurepoint(SUB_1, "temp", 0, pending_ttl=600)["data"]["commandId"]
    assert application.set_measurepoint(SUB_1, "temp", 1)["code"] == 11888, "it has never been logged in"
    assert gateway.publish(login(SUB_1)).is_success()
    assert program.next() == (tuple(SUB_1.split("/")), waiting, {"temp": 0})
    assert application.set_measurepoint(SUB_1, "temp", 2)["code"] == 0
    assert program.next()[::2] == (tuple(SUB_1.split("/")), {"temp": 2})
    answer = application.invoke_service(SUB_1, "limitPower", {"limit": 10.0})
    assert answer["data"]["outputData"] == {"applied": 9.0}
    assert program.next()[::2] == ((*SUB_1.split("/"), "limitPower"), {"limit": 10.0})
    assert application.set_measurepoint(GATEWAY, "GW.DoorOpen", False)["code"] == 0
    assert program.next()[::2] == (tuple(GATEWAY.split("/")), {"GW.DoorOpen": False})
    gateway.disconnect()
    eventually(lambda: application.set_measurepoint(SUB_1, "temp", 3)["code"] == 11900)


def test_a_sub_device_comes_back_with_its_gateway(hub: Hub, connect: Connect, application: TestApplication) -> None:
    """After a cut the SDK logs its sub-devices in again by itself; what was cached meanwhile follows."""
    program = Program()
    with proxy((hub.host, hub.port)) as network:
        gateway = connect(GATEWAY, handlers=program.handlers, via=network)
        assert gateway.publish(login(SUB_1)).is_success()
        network.cut()
        for number in range(3):
            assert application.set_measurepoint(SUB_1, "temp", number, pending_ttl=600)["code"] == 0
        assert [program.next()[2] for _ in range(3)] == [{"temp": 0}, {"temp": 1}, {"temp": 2}]


def test_a_device_that_subscribes_gets_one_copy(connect: Connect, application: TestApplication) -> None:
    """Whatever filters cover the topic, each command comes once; a handler is not called by the device's own reply."""
    program = Program()
    client = connect(INVERTER, handlers=program.handlers)
    paho = client._MqttClient__connection._MqttConnection__paho_client  # noqa: SLF001
    topic = f"/sys/{INVERTER}/thing/service/measurepoint/set"
    for topic_filter in (topic, f"/sys/{INVERTER}/thing/service/#", f"/sys/{INVERTER}/#", "/sys/+/+/thing/service/#"):
        paho.subscribe(topic_filter, 1)
    for number in range(3):
        assert application.set_measurepoint(INVERTER, "temp", number)["code"] == 0
    assert application.invoke_service(INVERTER, "restart")["code"] == 0
    assert [program.next()[2] for _ in range(4)] == [{"temp": 0}, {"temp": 1}, {"temp": 2}, {}]
    assert program.heard.empty()


def test_instant_commands_go_out_side_by_side(connect: Connect, application: TestApplication) -> None:
    """While one is not answered others are: none waits for another."""
    program = Program()
    held: queue.SimpleQueue[None] = queue.SimpleQueue()

    def hold(command: Any, path: Any) -> Any:
        if command.get_params()["temp"] == 0:
            held.get(timeout=PATIENCE)
        return program.set(command, path)

    connect(INVERTER, handlers={MeasurepointSetCommand: hold})
    with ThreadPoolExecutor() as calls:
        first = calls.submit(application.set_measurepoint, INVERTER, "temp", 0)
        assert application.set_measurepoint(INVERTER, "temp", 1)["code"] == 0
        assert not first.done()
        held.put(None)
        assert first.result(PATIENCE)["code"] == 0
    assert [program.next()[2] for _ in range(2)] == [{"temp": 1}, {"temp": 0}]
