"""`python -m benchmarks.uplinks`, in a short run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.hub import HubError, make_registry, read_registry
from benchmarks.reports import POINTS, Reports
from enos_ingest.devices.declaration import parse_declaration
from enos_ingest.models.catalogue import Catalogue
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.testing.hub import run_hub
from tests.process import PATIENCE, environment

ROOT = Path(__file__).parent.parent
SHORT = ("--seconds", "1", "--warmup", "0.1", "--devices", "3", "--window", "2")


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the workload as its own process."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.uplinks", *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )


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
    done = benchmark(*SHORT, "--batch", "5", "--points", str(len(POINTS)), "--runs", "2", "--json")
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


def test_the_registry_is_a_registry_file() -> None:
    """What --write-registry writes is one that the hub takes, and one that the benchmark reads."""
    text = make_registry(4)
    assert len(parse_declaration(text, "bench").rows("devices")) == 4
    assert [device for device, _ in read_registry(text, 2)] == [
        DeviceId("BenchInv", "device-0"),
        DeviceId("BenchInv", "device-1"),
    ]
    with pytest.raises(HubError, match="has 4 devices"):
        read_registry(text, 5)
    with pytest.raises(HubError, match="cannot be used"):
        read_registry("[[devices]]", 1)


def test_every_point_is_the_models() -> None:
    """The values that are sent fit the sample model, all of its points."""
    compiled = Catalogue.load(ROOT / "schemas" / "models").get("inverter")
    assert compiled is not None
    assert POINTS.keys() == compiled.model.measurepoints.keys()
    compiled.check(POINTS)


def test_every_item_has_a_time_of_its_own() -> None:
    """Each message repeats no time, so that every point is a new row."""
    messages = Reports(1, 3).messages(DeviceId("P", "d"))
    times = [item["time"] for _ in range(3) for item in json.loads(next(messages)[1])["params"]]
    assert times == list(range(times[0], times[0] + 9000, 1000))
