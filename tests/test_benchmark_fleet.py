"""The fleet of the benchmarks: what it sends, what it takes for an answer, and what is made of its figures.

It is tested against a wire that answers as it is told: no hub can be made to answer wrongly, and no socket to cut
packets where a test wants them cut.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.accounts import AccountsError, make_registry, read_registry
from benchmarks.device import Device
from benchmarks.figures import Figures, median_ratio, median_run
from benchmarks.fleet import Fleet, FleetError, Result
from benchmarks.packets import device_connect, encode_packet, encode_text, read_packet
from benchmarks.reports import POINTS, Reports
from enos_ingest.devices.declaration import parse_declaration
from enos_ingest.models.catalogue import Catalogue
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.testing.hub import run_hub
from tests.process import PATIENCE

ROOT = Path(__file__).parent.parent
DEVICE = DeviceId("BenchInv", "device-0")

Answer = Callable[[bytes, bytes, bytes, int], list[bytes]]
"""Makes the packets for a request from its topic, packet id, id, and how many came before on its connection."""


def reply(topic: bytes, request_id: bytes, *, packet_id: int = 0, code: int = 200) -> bytes:
    """A reply, with QoS 1 where there is a packet id."""
    head = encode_text(topic + b"_reply") + (packet_id.to_bytes(2) if packet_id else b"")
    return encode_packet(0x32 if packet_id else 0x30, head + b'{"id":"%b","code":%d,"data":{}}' % (request_id, code))


def puback(packet_id: bytes) -> bytes:
    """The acknowledgement of a request."""
    return b"\x40\x02" + packet_id


def well(topic: bytes, packet_id: bytes, request_id: bytes, turn: int) -> list[bytes]:
    """As a hub answers."""
    return [reply(topic, request_id, packet_id=turn + 1), puback(packet_id)]


class _Wire(asyncio.Transport):
    """Lets a device in and answers its requests with a script, in slices of so many bytes."""

    def __init__(self, answer: Answer, slice_bytes: int) -> None:
        super().__init__()
        self.device: Device
        self.acknowledged = 0
        self._answer = answer
        self._slice = slice_bytes
        self._turn = 0

    def write(self, data: bytes) -> None:  # type: ignore[override]
        at, out = 0, b""
        while (found := read_packet(data, at)) is not None:
            first, start, at = found
            out += self._respond(first, data[start:at])
        assert at == len(data)
        for position in range(0, len(out), self._slice):
            asyncio.get_running_loop().call_soon(self.device.data_received, out[position : position + self._slice])

    def close(self) -> None:
        asyncio.get_running_loop().call_soon(self.device.connection_lost, None)

    def _respond(self, first: int, body: bytes) -> bytes:
        if first >> 4 == 1:
            return b"\x20\x02\x00\x00"
        if first >> 4 == 8:
            return b"\x90\x03" + body[:2] + b"\x01"
        if first >> 4 != 3:
            self.acknowledged += first == 0x40
            return b""
        end = 2 + int.from_bytes(body[:2])
        request_id = json.loads(body[end + 2 :])["id"].encode()
        self._turn += 1
        return b"".join(self._answer(body[2:end], body[end : end + 2], request_id, self._turn - 1))


async def wired(answer: Answer, slice_bytes: int, reply_qos: int, patience: float) -> tuple[Fleet, _Wire]:
    """A fleet of one device, connected to a wire; the last digits of its ids pass 9999 with the third."""
    reports = Reports(1, 0, start=1_795_259_998)
    fleet = Fleet(reports, reply_qos=reply_qos, patience=patience)
    wire = _Wire(answer, slice_bytes)
    wire.device = Device(
        str(DEVICE), device_connect(DEVICE, "secret"), reports.stream(DEVICE), fleet, reply_qos=reply_qos
    )
    wire.device.ready = asyncio.get_running_loop().create_future()
    wire.device.connection_made(wire)
    await wire.device.ready
    fleet.devices.append(wire.device)
    return fleet, wire


def report(
    answer: Answer, *, slice_bytes: int = 65_536, reply_qos: int = 1, patience: float = PATIENCE
) -> tuple[Result, int]:
    """Let one device send three times four requests.

    Returns:
        what the fleet saw, and how many replies were acknowledged.
    """

    async def run() -> tuple[Result, int]:
        fleet, wire = await wired(answer, slice_bytes, reply_qos, patience)
        for _ in range(3):
            wire.device.send([0.0] * 4)
            await fleet.settle()
        fleet.close()
        await wire.device.gone.wait()
        return fleet.result, wire.acknowledged

    return asyncio.run(run())


@pytest.mark.parametrize("slice_bytes", [1, 2, 3, 7, 50, 131, 65_536])
def test_good_answers_are_recognised_in_any_slices(slice_bytes: int) -> None:
    """Nothing is wrong with them, and each reply is acknowledged."""
    result, acknowledged = report(well, slice_bytes=slice_bytes)
    assert (result.errors, result.faults, result.not_200.total()) == (0, [], 0)
    assert acknowledged == 12


def test_packet_ids_that_look_like_acknowledgements_are_none() -> None:
    """A reply with the packet id 0x4002, cut anywhere, is one reply."""

    def answer(topic: bytes, packet_id: bytes, request_id: bytes, _: int) -> list[bytes]:
        return [reply(topic, request_id, packet_id=0x4002), puback(packet_id)]

    for slice_bytes in range(50, 70):
        result, acknowledged = report(answer, slice_bytes=slice_bytes)
        assert (result.errors, result.faults, acknowledged) == (0, [], 12)


def test_replies_of_qos_0_are_not_acknowledged() -> None:
    """Devices may subscribe with QoS 0, and PUBACK may come before the reply."""

    def answer(topic: bytes, packet_id: bytes, request_id: bytes, _: int) -> list[bytes]:
        return [puback(packet_id), reply(topic, request_id)]

    result, acknowledged = report(answer, reply_qos=0)
    assert (result.errors, result.faults, acknowledged) == (0, [], 0)


def _wrong_id(topic: bytes, packet_id: bytes, request_id: bytes, turn: int) -> list[bytes]:
    return [reply(topic, request_id[:-1] + b"x" if turn == 6 else request_id), puback(packet_id)]


def _other_topic(topic: bytes, packet_id: bytes, request_id: bytes, turn: int) -> list[bytes]:
    return [reply(topic.replace(b"-0", b"-1") if turn == 6 else topic, request_id), puback(packet_id)]


def _twice(topic: bytes, packet_id: bytes, request_id: bytes, turn: int) -> list[bytes]:
    return [reply(topic, request_id)] * (2 if turn == 6 else 1) + [puback(packet_id)]


def _no_reply(topic: bytes, packet_id: bytes, request_id: bytes, turn: int) -> list[bytes]:
    return [*([] if turn == 11 else [reply(topic, request_id)]), puback(packet_id)]


def _no_puback(topic: bytes, packet_id: bytes, request_id: bytes, turn: int) -> list[bytes]:
    return [reply(topic, request_id), *([] if turn == 11 else [puback(packet_id)])]


def _wrong_puback(topic: bytes, packet_id: bytes, request_id: bytes, turn: int) -> list[bytes]:
    return [reply(topic, request_id), puback(b"\xff\xff" if turn == 6 else packet_id)]


def _qos_1(topic: bytes, packet_id: bytes, request_id: bytes, turn: int) -> list[bytes]:
    return [reply(topic, request_id, packet_id=9 if turn == 6 else 0), puback(packet_id)]


def _no_json(topic: bytes, packet_id: bytes, request_id: bytes, turn: int) -> list[bytes]:
    packet = reply(topic, request_id)
    return [packet.replace(b'"code":200', b'"code"=200') if turn == 6 else packet, puback(packet_id)]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (_wrong_id, "179526000x.* where the reply to 1795260004 is due"),
        (_other_topic, "device-1/.* where the reply to 1795260004 is due"),
        (_twice, "1795260004.* where the reply to 1795260005 is due"),
        (_no_reply, "1 requests without reply or PUBACK"),
        (_no_puback, "1 requests without reply or PUBACK"),
        (_wrong_puback, r"PUBACK of b'\\xff\\xff' where .* is due"),
        (_qos_1, "where the reply to 1795260004 is due"),
        (_no_json, "where the reply to 1795260004 is due"),
    ],
)
def test_wrong_and_missing_answers_are_errors(answer: Answer, sentence: str) -> None:
    """Each is counted, and told."""
    result, _ = report(answer, reply_qos=0, patience=1.0)
    assert result.errors > 0
    assert any(re.search(sentence, fault) for fault in result.faults), result.faults


def test_codes_other_than_200_are_counted() -> None:
    """Also where such a reply is as long as a good one."""

    def answer(topic: bytes, packet_id: bytes, request_id: bytes, turn: int) -> list[bytes]:
        code = {5: 500, 6: 1204}.get(turn, 200)
        return [reply(topic, request_id, packet_id=turn + 1, code=code), puback(packet_id)]

    result, acknowledged = report(answer)
    assert dict(result.not_200) == {500: 1, 1204: 1}
    assert (result.errors, acknowledged) == (0, 12)


def test_a_request_waits_from_when_it_was_due() -> None:
    """A server that stands still makes all wait that were due meanwhile, sent or not."""
    held: list[bytes] = []

    def answer(topic: bytes, packet_id: bytes, request_id: bytes, _: int) -> list[bytes]:
        held.extend(well(topic, packet_id, request_id, len(held)))
        if len(held) < 2 * 50:
            return []
        found = held[:]
        held.clear()
        return found

    async def run() -> Result:
        fleet, wire = await wired(answer, 65_536, 1, PATIENCE)
        result = await fleet.offer(rate=100, warmup=0, seconds=0.5)
        fleet.close()
        await wire.device.gone.wait()
        return result

    result = asyncio.run(run())
    assert result.errors == 0
    assert result.replies == 50
    # Nobody is answered before the last is sent: the first waits for all that are due after it.
    for turn, latency in enumerate(result.latencies):
        assert latency >= (49 - turn) / 100


def packets(data: bytes) -> Iterator[tuple[bytes, bytes, dict[str, object]]]:
    """Topic, packet id and document of each PUBLISH with QoS 1."""
    at = 0
    while (found := read_packet(data, at)) is not None:
        first, start, at = found
        assert first == 0x32
        end = start + 2 + int.from_bytes(data[start : start + 2])
        yield data[start + 2 : end], data[end : end + 2], json.loads(data[end + 2 : at])
    assert at == len(data)


@pytest.mark.parametrize("count", [1, 7, 30_000])
def test_every_message_is_known_by_its_number(count: int) -> None:
    """Ids, packet ids and times follow from it, however many packets are made at once; no two times are equal."""
    stream = Reports(2, 0, start=1_795_259_998).stream(DEVICE)
    made = [found for _ in range(-(-30_000 // count)) for found in packets(stream.packets(count))]
    assert stream.number == 1_795_259_998 + len(made)
    for number, (topic, packet_id, document) in enumerate(made, 1_795_259_998):
        assert topic == b"/sys/BenchInv/device-0/thing/measurepoint/resume"
        assert int.from_bytes(packet_id) == number % 10_000 + 1
        assert document["id"] == str(number)
        assert document["params"] == {"time": 1000 * number, "measurepoints": dict(list(POINTS.items())[:2])}


def test_every_item_of_a_batch_has_a_time_of_its_own() -> None:
    """Batches repeat no time, so that every point is a new row."""
    stream = Reports(1, 3).stream(DEVICE)
    found = [document for _, _, document in packets(stream.packets(2) + stream.packets(1))]
    times = [item["time"] for document in found for item in document["params"]]  # type: ignore[attr-defined]
    assert times == list(range(times[0], times[0] + 9000, 1000))
    assert [document["id"] for document in found] == [str(times[0] // 3000 + turn) for turn in range(3)]


def test_every_point_is_the_models() -> None:
    """The values that are sent fit the sample model, all of its points."""
    compiled = Catalogue.load(ROOT / "schemas" / "models").get("inverter")
    assert compiled is not None
    assert POINTS.keys() == compiled.model.measurepoints.keys()
    compiled.check(POINTS)


def test_the_registry_is_a_registry_file() -> None:
    """What --write-registry writes is one that the hub takes, and one that the benchmark reads."""
    text = make_registry(4)
    assert len(parse_declaration(text, "bench").rows("devices")) == 4
    assert [device for device, _ in read_registry(text, 2)] == [DEVICE, DeviceId("BenchInv", "device-1")]
    with pytest.raises(AccountsError, match="has 4 devices"):
        read_registry(text, 5)
    with pytest.raises(AccountsError, match="cannot be used"):
        read_registry("[[devices]]", 1)


def test_a_refused_device_is_named() -> None:
    """A fleet whose secrets are not the hub's says so, with the code of CONNACK."""

    async def run(host: str, port: int) -> None:
        fleet = Fleet(Reports(1, 0), patience=PATIENCE)
        try:
            with pytest.raises(FleetError, match="BenchInv/device-0 is refused with CONNACK 4"):
                await fleet.connect([(DEVICE, "guessed")], host, port)
        finally:
            fleet.close()
            await fleet.devices[0].gone.wait()

    with run_hub(registry=make_registry(1)) as hub:
        asyncio.run(run(hub.host, hub.port))


def test_figures_are_those_of_one_run() -> None:
    """Percentiles of the latencies, rates and costs a message; the median is the run in the middle."""
    results = []
    for rate in (100, 300, 200):
        result = Result(seconds=2.0, replies=2 * rate, generator_cpu=0.002 * rate, hub_cpu=0.02 * rate)
        result.latencies.extend(index / 1000 for index in range(1000))
        results.append(Figures.of(result, 3))
    middle = median_run(results)
    assert (middle.messages_per_second, middle.points_per_second) == (200, 600)
    assert (middle.p50, middle.p99, middle.p999, middle.max) == (500, 990, 999, 999)
    assert middle.hub_us == pytest.approx(10_000)
    assert middle.generator_us == pytest.approx(1_000)
    assert not middle.failed
    assert median_ratio(results, [results[0]] * 3) == 2
    assert Figures.of(Result(seconds=1.0), 3).failed
    assert Figures.of(Result(seconds=1.0, replies=1, errors=1), 3).failed
