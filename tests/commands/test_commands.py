"""What business software may ask: the order of the checks, and what is made of a call."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import orjson
import pytest

from enos_ingest.commands.command import Command, Kind, State
from enos_ingest.commands.commands import Commands, Order, Target, make_output_check
from enos_ingest.commands.refusals import CommandRefusal, RestCode
from enos_ingest.commands.search import Search
from enos_ingest.devices.directory import Directory, Product
from enos_ingest.errors import CodecError, StorageError
from enos_ingest.protocol.identity import DeviceId
from tests.commands.parts import DEVICE, NOW, FakeDispatcher, FakeReader, make_commands

ID = "118249003718017024"
ORDER = Order("scada", "org", Target(None, DEVICE), timeout=5)
CACHED = replace(ORDER, pending_ttl=60)


class Codecs:
    """Encodes as JSON behind a mark, or refuses."""

    def __init__(self, refusal: str = "") -> None:
        self.refusal = refusal

    async def encode(self, product: Product, message: dict[str, Any]) -> bytes:
        if self.refusal:
            raise CodecError(self.refusal)
        return product.codec.encode() + orjson.dumps(message)


def refusal_of(call: Coroutine[Any, Any, object]) -> tuple[RestCode, str, dict[str, Any] | None]:
    """Why a call is refused."""
    with pytest.raises(CommandRefusal) as refusal:
        asyncio.run(call)
    return refusal.value.code, refusal.value.message, refusal.value.data


def test_a_call_becomes_a_command() -> None:
    """With all that is stored of it."""
    dispatcher = FakeDispatcher()
    command = asyncio.run(make_commands(dispatcher).set_measurepoint(ORDER, "level", 3.0))
    assert dispatcher.run_commands == [
        Command(
            ID,
            DEVICE,
            Kind.SET_MEASUREPOINT,
            "level",
            3.0,
            "/sys/P/d/thing/service/measurepoint/set",
            b'{"id":"118249003718017024","version":"1.0","method":"thing.service.measurepoint.set",'
            b'"params":{"level":3.0}}',
            timeout=5,
            pending_ttl=0,
            created=NOW,
            application="scada",
        )
    ]
    assert (command.id, command.state) == (ID, State.SUCCESS)


def test_a_cached_command_is_handed_over_and_returned_as_it_is() -> None:
    """Whether or not the device has ever been online."""
    dispatcher = FakeDispatcher()
    command = asyncio.run(make_commands(dispatcher, activated=None).invoke_service(CACHED, "run", {}))
    assert dispatcher.cached == [command]
    assert (command.kind, command.state, command.pending_ttl) == (Kind.INVOKE_SERVICE, State.CREATED, 60)
    assert dispatcher.run_commands == []


def test_a_device_that_has_logged_in_since_the_start_counts_as_activated() -> None:
    """The registry in memory is older than that."""
    dispatcher = FakeDispatcher()
    never = make_commands(dispatcher, activated=None).set_measurepoint(ORDER, "level", 1)
    assert refusal_of(never)[0] is RestCode.NOT_ACTIVATED
    assert dispatcher.run_commands == []
    asyncio.run(make_commands(dispatcher, activated=None, has_logged_in=True).set_measurepoint(ORDER, "level", 1))
    assert len(dispatcher.run_commands) == 1


@pytest.mark.parametrize(
    ("order", "point", "value", "codecs", "activated", "code"),
    [
        (Order("s", "o", Target("x")), "x", "x", Codecs("no"), None, RestCode.NOT_FOUND),
        (Order("s", "org", Target("x")), "x", "x", Codecs("no"), None, RestCode.NOT_FOUND),
        (Order("s", "org", Target("b", DEVICE)), "x", "x", Codecs("no"), None, RestCode.BAD_ARGUMENT),
        (ORDER, "x", "x", Codecs("no"), None, RestCode.NOT_FOUND),
        (ORDER, "level", "x", Codecs("no"), None, RestCode.BAD_ARGUMENT),
        (ORDER, "level", 1, Codecs("no"), None, RestCode.CANNOT_ENCODE),
        (ORDER, "level", 1, None, None, RestCode.CANNOT_ENCODE),
        (ORDER, "level", 1, Codecs(), None, RestCode.NOT_ACTIVATED),
    ],
)
def test_the_first_check_that_fails_is_told(
    order: Order, point: str, value: object, codecs: Codecs | None, activated: int | None, code: RestCode
) -> None:
    """Organisation, device, point, value, codec, and only then whether the device can be reached."""
    dispatcher = FakeDispatcher()
    commands = make_commands(
        dispatcher, codecs=codecs, product=Product("P", model="m", codec="c:c"), activated=activated
    )
    assert refusal_of(commands.set_measurepoint(order, point, value))[0] is code
    assert dispatcher.run_commands == []


def test_what_a_codec_makes_goes_out_on_the_raw_topic() -> None:
    """And what it says is handed on, where it refuses."""
    dispatcher, product = FakeDispatcher(), Product("P", model="m", codec="c:c")
    commands = make_commands(dispatcher, codecs=Codecs(), product=product)
    asyncio.run(commands.set_measurepoint(ORDER, "level", 1))
    (command,) = dispatcher.run_commands
    assert command.topic == "/sys/P/d/thing/model/down_raw"
    message = {"id": ID, "version": "1.0", "method": "thing.service.measurepoint.set", "params": {"level": 1}}
    assert command.payload == b"c:c" + orjson.dumps(message)
    refusing = make_commands(codecs=Codecs("too long"), product=product).set_measurepoint(ORDER, "level", 1)
    assert refusal_of(refusing) == (RestCode.CANNOT_ENCODE, "the command cannot be encoded: too long", None)


@pytest.mark.parametrize(
    ("product", "said"),
    [
        (Product("P"), "its product has no thing model"),
        (Product("P", model="lost"), "the thing model lost of its product is not loaded"),
        (Product("P", model="m"), "the thing model m has none of this name"),
    ],
)
def test_a_point_or_service_that_does_not_exist_is_told_with_the_reason(product: Product, said: str) -> None:
    """The caller's, or the operator's."""
    commands = make_commands(product=product)
    expected = RestCode.NOT_FOUND, f"measurepointId x does not exist: {said}", None
    assert refusal_of(commands.set_measurepoint(ORDER, "x", 1)) == expected
    expected = RestCode.NOT_FOUND, f"serviceId x does not exist: {said}", None
    assert refusal_of(commands.invoke_service(ORDER, "x", {})) == expected


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (2001, "locked", "the device has refused, with code 2001: locked"),
        (-1, "", "the device has refused, with code -1"),
        (None, "it cannot be read", "the device has answered, but it cannot be read"),
        (200, "x", "the device has done it, but its answer does not fit the thing model: x"),
        (0, "x", "the device has done it, but its answer does not fit the thing model: x"),
    ],
)
def test_a_command_that_failed_is_a_refusal_with_the_devices_words(code: int | None, words: str, said: str) -> None:
    """11999, which is ours."""
    dispatcher = FakeDispatcher()
    dispatcher.ending = {"state": State.FAILED, "device_code": code, "device_message": words}
    data = {"commandId": ID, "deviceCode": code, "deviceMessage": words}
    call = make_commands(dispatcher).set_measurepoint(ORDER, "level", 1)
    assert refusal_of(call) == (RestCode.DEVICE_FAILED, said, data)


def test_the_dispatchers_refusals_are_handed_on() -> None:
    """As they are."""
    dispatcher = FakeDispatcher()
    dispatcher.refusal = CommandRefusal(RestCode.NOT_ANSWERED, "late", {"commandId": ID})
    call = make_commands(dispatcher).set_measurepoint(ORDER, "level", 1)
    assert refusal_of(call) == (RestCode.NOT_ANSWERED, "late", {"commandId": ID})


def test_a_clock_that_leaves_no_ids_is_told() -> None:
    """It is the operator's to mend."""

    def no_id() -> str:
        raise OverflowError("no command id of 18 digits is left: set the clock right")

    commands = make_commands()
    commands._next_id = no_id  # noqa: SLF001 - a clock of the year 2131
    call = commands.set_measurepoint(ORDER, "level", 1)
    assert refusal_of(call)[:2] == (RestCode.INTERNAL, "no command id of 18 digits is left: set the clock right")


def stored(device: DeviceId = DEVICE) -> Command:
    return Command(ID, device, Kind.SET_MEASUREPOINT, "level", 1, "t", b"", 30, 0, NOW, "scada")


def test_get_search_and_cancel_know_whose_commands_they_are_asked_for() -> None:
    """A device that does not exist has none."""

    async def ask() -> None:
        dispatcher, reader = FakeDispatcher(), FakeReader()
        reader.commands[ID] = stored()
        commands = make_commands(dispatcher, reader)
        assert await commands.get("org", ID) == await commands.get("org", ID, Target("a")) == stored()
        assert await commands.search("org", Search(page=2), Target("a")) == ([stored()], 1)
        await commands.search("org", Search())
        assert reader.searches == [Search(page=2, device=DEVICE), Search()]
        assert await commands.cancel("org", Target("a"), ID) == []
        await commands.cancel("org", Target("b"))
        assert dispatcher.canceled == [(DEVICE, ID), (DeviceId("P", "other"), None)]
        for call in (
            commands.get("org", ID, Target("b")),
            commands.get("org", "1"),
            commands.get("o", ID),
            commands.search("org", Search(), Target("x")),
            commands.cancel("org", Target("b"), ID),
        ):
            with pytest.raises(CommandRefusal) as refusal:
                await call
            assert refusal.value.code is RestCode.NOT_FOUND
        assert len(dispatcher.canceled) == 2
        commands.close()

    asyncio.run(ask())


def test_so_many_searches_wait_and_no_more() -> None:
    """They would take the places of those who set values; who hangs up makes room, as does each that is answered."""
    reader = FakeReader()
    commands = make_commands(reader=reader)

    async def ask() -> None:
        waiting = [asyncio.create_task(commands.search("org", Search())) for _ in range(50)]
        await asyncio.sleep(0)
        with pytest.raises(CommandRefusal, match="50 searches are waiting already") as refusal:
            await commands.search("org", Search())
        assert refusal.value.code is RestCode.BUSY
        waiting.pop().cancel()
        await asyncio.sleep(0)
        waiting.append(asyncio.create_task(commands.search("org", Search())))
        assert len(await asyncio.gather(*waiting)) == 50
        assert await commands.search("org", Search()) == ([], 0)
        commands.close()

    asyncio.run(ask())


def test_a_database_that_cannot_be_read_is_no_fault_of_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    """The reason is in the log, where paths of files belong, and a flood of calls makes few lines."""
    reader = FakeReader()
    reader.error = StorageError("/srv/x.db: disk I/O error")
    commands = make_commands(reader=reader)

    async def ask() -> list[object]:
        return await asyncio.gather(*(commands.get("org", ID) for _ in range(500)), return_exceptions=True)

    refusals = asyncio.run(ask())
    assert {str(refusal) for refusal in refusals} == {"the database cannot be read now"}
    assert all(isinstance(each, CommandRefusal) and each.code is RestCode.INTERNAL for each in refusals)
    assert 1 <= caplog.text.count("disk I/O error") < 500


def test_the_asset_id_of_a_device_that_is_gone_is_empty() -> None:
    """Its commands stay."""
    commands: Commands = make_commands()
    assert (commands.asset_id(DEVICE), commands.asset_id(DeviceId("P", "gone"))) == ("a", "")


def test_outputs_are_checked_as_long_as_the_model_knows_the_service() -> None:
    """Nothing, as devices write it, is an empty object."""
    make = make_commands()
    check = make_output_check(make._directory, make._models)  # noqa: SLF001 - those of the parts
    call = replace(stored(), kind=Kind.INVOKE_SERVICE, identifier="run")
    assert [check(call, output) for output in (None, {}, {"n": 1}, {"n": 1, "more": 2})] == [None] * 4
    assert check(call, {"n": "1"}) == "outputData.n: expected an integer"
    assert check(call, [1]) == "outputData: expected an object"
    assert check(replace(call, identifier="gone"), [1]) is None
    for product in ((), (Product("P"),), (Product("P", model="lost"),)):
        directory = Directory(product)
        assert make_output_check(lambda directory=directory: directory, make._models)(call, [1]) is None  # type: ignore[misc]  # noqa: SLF001
