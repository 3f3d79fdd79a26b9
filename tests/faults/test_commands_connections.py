"""Devices and gateways come and go while commands are on their way: a command is sent once, and ends once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from enos_ingest.commands.command import State
from enos_ingest.testing.application import TestApplication
from enos_ingest.testing.client import TestClient
from enos_ingest.testing.hub import Hub
from tests.clients.world import GATEWAY, INVERTER, REGISTRY, SECRETS, SUB_1
from tests.process import PATIENCE, eventually

OTHER_GATEWAY = "EbxGvUrE/gw-2"
SECRET = "other-gateway-secret"

PLANT: dict[str, Any] = {
    **REGISTRY,
    "devices": [*REGISTRY["devices"], {"product": "EbxGvUrE", "key": "gw-2", "secret": SECRET}],
    "gateways": [*REGISTRY["gateways"], {"device": OTHER_GATEWAY, "sub_devices": [SUB_1]}],
}
"""The sub-device has two gateways, of which it uses one at a time."""

Ask = Callable[..., "Future[dict[str, Any]]"]


@pytest.fixture
def hub(enos_hub: Callable[..., Hub]) -> Hub:
    """A hub with a device and two gateways."""
    return enos_hub(registry=PLANT)


@pytest.fixture
def application(hub: Hub) -> TestApplication:
    """Business software that may do everything."""
    return hub.application()


@pytest.fixture
def ask() -> Iterator[Ask]:
    """Call the REST API while the device, which is the test itself, goes on."""
    with ThreadPoolExecutor() as calls:
        yield calls.submit


def gateway(hub: Hub, name: str = GATEWAY) -> TestClient:
    """A gateway that has logged the sub-device in."""
    client = hub.connect(name)
    assert client.login(SUB_1, SECRETS[SUB_1])["code"] == 200
    return client


def nothing_else_came(client: TestClient, application: TestApplication, device: str) -> None:
    """The next command that a client gets is one that is sent now."""
    cached = application.set_measurepoint(device, "temp", 99, pending_ttl=60)["data"]["commandId"]
    fence = client.next_command()
    assert fence.id == cached
    client.answer(fence)
    eventually(lambda: state(application, cached) is State.SUCCESS)


def state(application: TestApplication, command: str) -> State:
    """How far a command has come."""
    return State(application.command(command)["data"]["state"])


def test_a_device_drops_after_it_got_a_command_and_answers_when_it_is_back(
    hub: Hub, application: TestApplication, ask: Ask
) -> None:
    """Within the timeout the answer counts, over whatever connection; the command is not sent again."""
    client = hub.connect(INVERTER)
    waiting = ask(application.set_measurepoint, INVERTER, "temp", 1)
    received = client.next_command()
    client.disconnect()
    with hub.connect(INVERTER) as again:
        assert not waiting.done()
        again.answer(received)
        assert waiting.result(PATIENCE)["code"] == 0
        nothing_else_came(again, application, INVERTER)


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_device_drops_and_never_answers(
    hub: Hub, application: TestApplication, ask: Ask, *, comes_back: bool
) -> None:
    """The caller waits until the time is over: the device may have done it. It is not sent again."""
    client = hub.connect(INVERTER)
    waiting = ask(application.set_measurepoint, INVERTER, "temp", 1, timeout=3)
    received = client.next_command()
    client.disconnect()
    again = hub.connect(INVERTER) if comes_back else None
    answer = waiting.result(PATIENCE)
    assert (answer["code"], answer["data"]) == (11915, {"commandId": received.id})
    assert state(application, received.id) is State.TIMED_OUT
    with again or hub.connect(INVERTER) as client:
        nothing_else_came(client, application, INVERTER)


def test_a_cached_command_is_out_when_the_device_drops(hub: Hub, application: TestApplication) -> None:
    """It is not sent again when the device is back, and what was cached after it waits for the answer or the time."""
    cached = [
        application.set_measurepoint(INVERTER, "temp", number, pending_ttl=60, timeout=timeout)["data"]["commandId"]
        for number, timeout in enumerate((30, 1, 30))
    ]
    with hub.connect(INVERTER) as client:
        first = client.next_command()
        assert first.id == cached[0]
    with hub.connect(INVERTER) as client:
        assert client.resume({"temp": 1})["code"] == 200, "served, and nothing was sent before"
        assert [state(application, each) for each in cached] == [State.RELEASED, State.CREATED, State.CREATED]
        client.answer(first)
        assert client.next_command().id == cached[1]
    with hub.connect(INVERTER) as client:
        third = client.next_command()
        assert third.id == cached[2]
        assert state(application, cached[1]) is State.TIMED_OUT, "nobody answered it in its second"
        client.answer(third)
        nothing_else_came(client, application, INVERTER)
    assert [state(application, each) for each in cached] == [State.SUCCESS, State.TIMED_OUT, State.SUCCESS]


def test_commands_are_cached_while_the_device_comes_and_goes(hub: Hub, application: TestApplication) -> None:
    """The device gets each once and in order, over whatever connection; what went out as it left has timed out."""
    cached = [
        application.set_measurepoint(INVERTER, "temp", number, pending_ttl=60, timeout=3)["data"]["commandId"]
        for number in range(9)
    ]
    heard: list[str] = []
    ended: dict[str, State] = {}
    while len(ended) < len(cached):
        with hub.connect(INVERTER) as client:
            for _ in range(3):
                with contextlib.suppress(TimeoutError):  # one that went out as the last connection ended is waited for
                    received = client.next_command(timeout=5)
                    heard.append(received.id)
                    client.answer(received)
        states = {each: state(application, each) for each in cached}
        ended = {each: found for each, found in states.items() if found.is_final}
    assert heard == sorted(set(heard))
    assert set(heard) == {each for each, found in ended.items() if found is State.SUCCESS}
    assert set(ended.values()) <= {State.SUCCESS, State.TIMED_OUT}
    assert len(heard) >= len(cached) // 2


def test_a_gateway_connects_again(hub: Hub, application: TestApplication, ask: Ask) -> None:
    """The new connection takes the old one's place: commands wait until it has logged the sub-device in, and go there.

    What was sent over the old one may be answered over the new one, also before the login.
    """
    with gateway(hub) as old:
        waiting = ask(application.set_measurepoint, SUB_1, "temp", 1)
        received = old.next_command()
        with hub.connect(GATEWAY) as new:
            assert application.set_measurepoint(SUB_1, "temp", 2)["code"] == 11900
            assert application.set_measurepoint(SUB_1, "temp", 3, pending_ttl=60)["code"] == 0
            new.answer(received)
            assert waiting.result(PATIENCE)["code"] == 0
            assert new.login(SUB_1, SECRETS[SUB_1])["code"] == 200
            cached = new.next_command()
            assert (cached.topic.split("/")[3], cached.params) == ("sub001", {"temp": 3})
            new.answer(cached)
            nothing_else_came(new, application, SUB_1)
        with pytest.raises(TimeoutError):
            old.next_command(timeout=0)


def test_another_gateway_takes_the_sub_device(hub: Hub, application: TestApplication, ask: Ask) -> None:
    """The newest login wins: commands go to that gateway alone, and the first one's end changes nothing."""
    first, second = gateway(hub), gateway(hub, OTHER_GATEWAY)
    with second:
        with first:
            waiting = ask(application.set_measurepoint, SUB_1, "temp", 1)
            received = second.next_command()
            assert received.params == {"temp": 1}
            second.answer(received)
            assert waiting.result(PATIENCE)["code"] == 0
            with pytest.raises(TimeoutError):
                first.next_command(timeout=0)
        nothing_else_came(second, application, SUB_1)


def test_another_gateway_takes_the_sub_device_between_command_and_answer(
    hub: Hub, application: TestApplication, ask: Ask
) -> None:
    """The command is not sent again; either gateway may bring the answer, and the first one counts."""
    with gateway(hub) as first:
        waiting = ask(application.set_measurepoint, SUB_1, "temp", 1)
        received = first.next_command()
        with gateway(hub, OTHER_GATEWAY) as second:
            second.answer(received, 7)
            first.answer(received)
            assert waiting.result(PATIENCE)["data"]["deviceCode"] == 7
            nothing_else_came(second, application, SUB_1)


def test_a_sub_device_logs_out_between_command_and_answer(hub: Hub, application: TestApplication, ask: Ask) -> None:
    """Its gateway still answers for it; what is cached then waits for the next login."""
    with gateway(hub) as client:
        waiting = ask(application.set_measurepoint, SUB_1, "temp", 1)
        received = client.next_command()
        client.logout(SUB_1)
        client.answer(received)
        assert waiting.result(PATIENCE)["code"] == 0
        cached = application.set_measurepoint(SUB_1, "temp", 2, pending_ttl=60)["data"]["commandId"]
        assert application.set_measurepoint(GATEWAY, "GW.DoorOpen", True, pending_ttl=60)["code"] == 0
        own = client.next_command()
        assert own.params == {"GW.DoorOpen": True}, "the gateway's own commands wait for nobody"
        client.answer(own)
        assert client.login(SUB_1, SECRETS[SUB_1])["code"] == 200
        assert client.next_command().id == cached


def test_a_sub_device_with_a_connection_of_its_own(hub: Hub, application: TestApplication, ask: Ask) -> None:
    """Its commands come there, and not over its gateway as well; without it they go to the gateway again."""
    with gateway(hub) as through:
        with hub.connect(SUB_1) as own:
            waiting = ask(application.set_measurepoint, SUB_1, "temp", 1)
            own.answer(own.next_command())
            assert waiting.result(PATIENCE)["code"] == 0
        with pytest.raises(TimeoutError):
            through.next_command(timeout=0)
        assert through.login(SUB_1, SECRETS[SUB_1])["code"] == 200
        nothing_else_came(through, application, SUB_1)


def test_a_device_is_disabled_and_enabled_again(hub: Hub, application: TestApplication, ask: Ask) -> None:
    """A disabled device is offline: its connection ends, cached commands wait until it may connect again."""
    row = {"product": INVERTER.split("/")[0], "key": INVERTER.split("/")[1], "secret": SECRETS[INVERTER]}
    client = hub.connect(INVERTER)
    waiting = ask(application.set_measurepoint, INVERTER, "temp", 1, timeout=3)
    client.next_command()
    hub.apply({"devices": [{**row, "enabled": False}]})
    eventually(lambda: application.set_measurepoint(INVERTER, "temp", 2)["code"] == 11900)
    cached = application.set_measurepoint(INVERTER, "temp", 3, pending_ttl=60)
    assert cached["code"] == 0
    assert waiting.result(PATIENCE)["code"] == 11915
    client.disconnect()
    hub.apply({"devices": [{**row, "enabled": True}]})
    with hub.connect(INVERTER) as again:
        assert again.next_command().id == cached["data"]["commandId"]
