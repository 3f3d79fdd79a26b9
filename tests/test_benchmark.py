"""The benchmarks, in short runs: what they measure is real, and what is wrong they find."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.accounts import AccountsError, make_registry, read_registry
from benchmarks.device import Device
from benchmarks.figures import Figures, median_ratio, median_run
from benchmarks.fleet import Fleet, FleetError, Result
from benchmarks.front_door import ROWS
from benchmarks.fuzz import Fuzz, run_fuzz
from benchmarks.hub_log import HubLog
from benchmarks.packets import device_connect, encode_packet, encode_text, read_packet
from benchmarks.prefill import prefill
from benchmarks.reports import POINTS, Reports
from benchmarks.servers import NULL_STORE
from benchmarks.soak import Soak, run_soak
from benchmarks.usage import Usage
from enos_ingest.devices.declaration import parse_declaration
from enos_ingest.models.catalogue import Catalogue
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.reader import SqliteReader
from enos_ingest.testing.hub import run_hub
from tests.process import PATIENCE, environment

ROOT = Path(__file__).parent.parent
SHORT = ("--seconds", "1", "--warmup", "0.1", "--devices", "3", "--window", "2")
DEVICE = DeviceId("BenchInv", "device-0")
ENOUGH = 2**40
"""Bytes of memory: a short run says nothing of its growth."""


def benchmark(*arguments: str, module: str = "uplinks") -> subprocess.CompletedProcess[str]:
    """Run a command as its own process."""
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=8 * PATIENCE,
        check=False,
    )


# benchmarks.uplinks


def test_a_short_run_prints_a_table() -> None:
    """Versions, machine and workload above, then a row of figures, all answered with 200."""
    done = benchmark(*SHORT)
    assert done.returncode == 0, done.stderr
    assert "enos_ingest " in done.stdout
    assert "3 devices, each 2 requests open, QoS 1, resume of 3 points" in done.stdout
    row = done.stdout.splitlines()[-1].replace(",", "").split()
    rate, points, p50, p99, longest = map(float, row[1:6])
    assert rate > 0
    assert abs(points - 3 * rate) < 3
    assert 0 < p50 <= p99 <= longest
    assert row[6:8] == ["0", "0"]


def test_runs_of_batches_come_as_json() -> None:
    """--json prints one document with each run and the one in the middle; a batch counts all its points."""
    done = benchmark(*SHORT, "--batch", "5", "--points", str(len(POINTS)), "--runs", "2", "--reply-qos", "0", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert len(document["runs"]) == 2
    assert document["median"] in document["runs"]
    for run in document["runs"]:
        assert run["points_per_second"] == pytest.approx(run["messages_per_second"] * 5 * len(POINTS))
        assert (run["not_200"], run["errors"]) == (0, 0)
    assert document["workload"]["batch"] == 5


def test_a_running_hub_is_measured_with_a_registry_file(tmp_path: Path) -> None:
    """--write-registry makes the devices, --url and --registry measure the hub that has them; each point is stored."""
    registry = tmp_path / "bench.toml"
    assert benchmark("--write-registry", str(registry), "--devices", "3").returncode == 0
    with run_hub(registry=registry) as hub:
        done = benchmark(*SHORT, "--url", f"{hub.host}:{hub.port}", "--registry", str(registry), "--json")
        assert done.returncode == 0, done.stderr
        stored = sum(len(hub.points(f"BenchInv/device-{number}")) for number in range(3))
    answered = json.loads(done.stdout)["runs"][0]["messages_per_second"]
    assert stored >= 3 * answered * 0.9


def test_replies_other_than_200_fail_the_run(tmp_path: Path) -> None:
    """Where the hub refuses what is sent, the run counts it and ends with 1."""
    registry = tmp_path / "bench.toml"
    registry.write_text(make_registry(3))
    model = json.loads((ROOT / "schemas" / "models" / "inverter.json").read_text("utf-8"))
    model["measurepoints"].pop(next(iter(POINTS)))
    with run_hub(registry=registry, models=[model]) as hub:
        done = benchmark(*SHORT, "--url", f"{hub.host}:{hub.port}", "--registry", str(registry), "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["runs"][0]["not_200"] > 0
    assert "replies with the code 1204" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--points", "14"), 2, "'14' is not a number from 1 to 13"),
        (("--seconds", "soon"), 2, "'soon' is not a number from 0.1 to 86400"),
        (("--url", "127.0.0.1:1"), 2, "--url and --registry go together"),
        (("--url", "1883", "--registry", "x"), 2, "'1883' is not HOST:PORT"),
        (("--url", "127.0.0.1:1", "--registry", "no-such-file"), 1, "No such file"),
        (("--folder", "no-such-folder"), 1, "No such file"),
    ],
)
def test_bad_arguments_get_a_sentence(arguments: tuple[str, ...], code: int, sentence: str) -> None:
    """What cannot be measured is said in one sentence, without a traceback."""
    done = benchmark(*arguments)
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_listening_gets_a_sentence(tmp_path: Path) -> None:
    """A hub that is not there is named with its address."""
    registry = tmp_path / "bench.toml"
    registry.write_text(make_registry(20))
    done = benchmark("--url", "127.0.0.1:1", "--registry", str(registry))
    assert done.returncode == 1
    assert re.search(r"BenchInv/device-\d+ cannot connect to 127\.0\.0\.1:1", done.stderr)
    assert "Traceback" not in done.stderr


# benchmarks.front_door


def test_the_table_has_every_row() -> None:
    """One command measures what the front door must hold; the peers have tests of their own."""
    rows = [name for name in ROWS if name != "many"]
    done = benchmark(
        *("--rows", ",".join(rows), "--runs", "1", "--seconds", "0.3", "--warmup", "0.1", "--long-seconds", "1.2"),
        *("--scale", "0.004", "--main-job", str(ROOT), "--json"),
        module="front_door",
    )
    document = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    found = {(finding["row"], finding["what"]): finding["measured"] for finding in document["findings"]}
    for row, what in (
        ("20 devices x 10", "of the same build with a null store, %"),
        ("20 devices x 10", "times the main job's build"),
        ("20 connected", "of the rate with 2 connected, %"),
        ("connect storm of 20", "connects/s"),
        ("resume/batch of 200 x 3", "points/s"),
        ("100 messages/s offered", "the same, p99"),
        ("stored before", "80,000 points: hub, us a message"),
    ):
        values = [value for (title, figure), value in found.items() if title.startswith(row) and figure == what]
        assert len(values) == 1, (row, what, found)
        assert values[0] > 0, (row, what)
    assert set(document["rows"]) == set(rows)


def test_a_row_that_cannot_be_measured_is_said_and_fails(tmp_path: Path) -> None:
    """The table names it, the exit code is 1, and the other rows are measured."""
    (tmp_path / "enos_ingest").mkdir()
    (tmp_path / "enos_ingest" / "__init__.py").touch()
    done = benchmark(
        *("--rows", "busy,storm", "--runs", "1", "--seconds", "0.2", "--warmup", "0.1", "--scale", "0.001"),
        *("--main-job", str(tmp_path)),
        module="front_door",
    )
    assert done.returncode == 1
    assert "benchmarks.front_door: busy: the hub does not start" in done.stderr
    assert "| busy | not measured: the hub does not start" in done.stdout
    assert re.search(r"\| connect storm of 5 devices \| connects/s \| \d", done.stdout)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--rows", "busy,idel"), "'idel' is none of busy, many, idle"),
        (("--main-job", "/"), "'/' is no checkout of enos_ingest"),
    ],
)
def test_bad_arguments_of_the_table_get_a_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    """So does a row that is misspelt, and a folder without a hub."""
    done = benchmark(*arguments, module="front_door")
    assert done.returncode == 2
    assert sentence in done.stderr


def test_the_product_knows_nothing_of_the_null_store() -> None:
    """A hub that answers without storing is for measuring alone."""
    for file in (ROOT / "enos_ingest").rglob("*.py"):
        assert "benchmarks" not in file.read_text("utf-8").replace("for benchmarks", ""), file
        assert "NullWriter" not in file.read_text("utf-8"), file


def test_a_database_is_filled_beforehand(tmp_path: Path) -> None:
    """So many points, shared among the devices' series, each second one, before anything that a run sends."""
    prefill(tmp_path / "full.db", 600, 10, 3)
    start = Reports(3, 0).start
    with SqliteReader(tmp_path / "full.db") as reader:
        for number in range(10):
            points = list(reader.points("BenchInv", f"device-{number}"))
            assert len(points) == 60
            assert {point.measurepoint for point in points} == set(list(POINTS)[:3])
            assert max(point.time for point in points) < 1000 * start


# benchmarks.soak and benchmarks.fuzz


def soak(folder: Path, **arguments: object) -> tuple[list[str], str]:
    """A short soak: what went wrong, and what it said."""
    said: list[str] = []
    short = Soak(seconds=2, warmup=0.5, rate=200, devices=20, reconnects=20, report=0.5, growth=ENOUGH)
    return run_soak(short, folder, said.append, **arguments), "\n".join(said)  # type: ignore[arg-type]


def test_a_soak_finds_every_acknowledged_message_in_the_database(tmp_path: Path) -> None:
    """Connections are dropped and come back meanwhile; memory and descriptors are told."""
    faults, said = soak(tmp_path)
    assert faults == []
    counts = re.search(r"([\d,]+) messages acknowledged; .* (\d+) dropped, (\d+) ended in order", said)
    assert counts, said
    assert all(int(count.replace(",", "")) > 0 for count in counts.groups()), said
    assert "messages acknowledged and not stored: none" in said
    assert re.search(r"^resident memory [\d.]+ MiB at the start", said, re.MULTILINE)


def test_a_soak_tells_what_was_acknowledged_and_is_not_stored(tmp_path: Path) -> None:
    """A hub that stores nothing is found out."""
    faults, _ = soak(tmp_path, server=NULL_STORE)
    assert len(faults) == 60
    assert all("acknowledged points are not stored, the first of " in fault for fault in faults)


def test_bent_streams_leave_the_hub_as_it_was(tmp_path: Path) -> None:
    """No error in its log, no descriptor left, and the device beside them is served."""
    said: list[str] = []
    fuzz = Fuzz(seconds=2, warmup=0.5, seed=1, connections=5, growth=ENOUGH)
    assert run_fuzz(fuzz, tmp_path, said.append) == []
    text = "\n".join(said)
    assert re.search(r"^[\d,]+ streams of seed 1, [\d,]+ bytes", text), text
    assert "before authentication" in text
    assert "after authentication" in text
    assert re.search(r"the healthy device was answered [1-9]\d* times", text)


def test_one_stream_can_be_sent_alone(tmp_path: Path) -> None:
    """A stream that found something is sent again by its number."""
    said: list[str] = []
    fuzz = Fuzz(seconds=60, warmup=0.1, seed=1, connections=5, growth=ENOUGH, only=7)
    assert run_fuzz(fuzz, tmp_path, said.append) == []
    assert said[0].startswith("1 streams of seed 1")


def test_the_log_of_a_hub_is_read_as_it_grows(tmp_path: Path) -> None:
    """Errors, exceptions and what is no log line are faults, each told once; half a line waits for the rest."""
    path = tmp_path / "hub.log"
    good = b'{"level":"warning","event":"connection refused"}\n'
    path.write_bytes(good + b'{"level":"error","event":"a"}\n' + b'{"level":"warn')
    log = HubLog(path)
    assert log.faults() == ['the hub\'s log: {"level":"error","event":"a"}']
    with path.open("ab") as file:
        file.write(b'ing","event":"b","exception":"Traceback"}\nTraceback (most recent call last):\n' + good)
    assert [line[15:40] for line in log.faults()] == ['{"level":"warning","event', "Traceback (most recent ca"]
    assert log.faults() == []
    assert log.lines == 5


def test_growth_is_told() -> None:
    """Memory over the bound and descriptors that stay open are faults; a little more is none."""
    process = _Process([(100 * 2**20, 20), (150 * 2**20, 26)])
    usage = Usage(process)  # type: ignore[arg-type]
    usage.sample()
    usage.sample()
    assert usage.faults(50 * 2**20) == []
    assert usage.faults(40 * 2**20) == ["resident memory grew by 50.0 MiB, more than 40.0 MiB"]
    process.samples.append((100 * 2**20, 40))
    usage.sample()
    assert usage.faults(2**20) == ["20 more descriptors are open at the end than at the start"]


class _Process:
    """What a process has used, as no real one can be made to."""

    def __init__(self, samples: list[tuple[int, int]]) -> None:
        self.samples = samples

    def resident_bytes(self) -> int:
        return self.samples[0][0]

    def descriptors(self) -> int:
        return self.samples.pop(0)[1]


# The fleet, against a wire that answers as it is told: no hub can be made to answer wrongly, no socket to cut packets
# where a test wants them cut.


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
    result, _ = report(answer, reply_qos=0, patience=0.2)
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


# What fleets send, and what is made of the figures.


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
