"""The benchmarks, in short runs: what they measure is real, and what is wrong they find."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.accounts import make_registry
from benchmarks.front_door import ROWS
from benchmarks.fuzz import Fuzz, run_fuzz
from benchmarks.hub_log import HubLog
from benchmarks.prefill import prefill
from benchmarks.reports import POINTS, Reports
from benchmarks.servers import NULL_STORE
from benchmarks.soak import Soak, run_soak
from benchmarks.usage import Usage
from enos_ingest.storage.reader import SqliteReader
from enos_ingest.testing.hub import run_hub
from tests.process import PATIENCE, environment

ROOT = Path(__file__).parent.parent
SHORT = ("--seconds", "1", "--warmup", "0.1", "--devices", "3", "--window", "2")
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
