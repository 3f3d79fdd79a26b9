"""The benchmark of commands, in short runs: what it measures is real, and what is wrong it finds."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from benchmarks.caller import Caller, CallerError
from benchmarks.calls import Calls
from benchmarks.command_device import CommandDevice, Heard
from benchmarks.device import DeviceError
from benchmarks.hub import Hub as BenchmarkHub
from benchmarks.packets import device_connect
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.testing.hub import Hub, run_hub
from tests.test_benchmark import benchmark

SHORT = ("--rate", "50", "--uplinks", "100", "--seconds", "1", "--warmup", "0.2", "--devices", "4", "--targets", "3")
KEY, SECRET = "the-key-of-an-application", "a-device-secret"
REGISTRY: dict[str, Any] = {
    "products": [{"key": "P", "model": "inverter"}],
    "devices": [{"product": "P", "key": "inv", "secret": SECRET}],
    "applications": [
        {"name": "scada", "api_key": KEY, "scopes": ["control"]},
        {"name": "reader", "api_key": "the-key-of-a-reader", "scopes": ["read"]},
    ],
}


def test_a_short_run_prints_a_table() -> None:
    """Versions, machine and workload above, a row of figures, and whether the wanted figure holds."""
    done = benchmark(*SHORT, module="commands")
    assert done.returncode == 0, done.stderr
    assert "setMeasurepoint at 50 calls/s to 3 devices, beside 100 uplinks/s of 3 points from 4 devices" in done.stdout
    *_, row, _, wanted = done.stdout.splitlines()
    rate, p50, p99, _, longest, _, uplinks = map(float, row.split()[1:8])
    assert rate == pytest.approx(50, rel=0.05)
    assert 0 < p50 <= p99 <= longest
    assert uplinks > 0
    assert f"round trip p50 {p50:.2f} ms, wanted below 10 ms: " in wanted


def test_runs_without_reports_come_as_json() -> None:
    """--json prints one document with every run; without reports there are no figures of them."""
    done = benchmark(*SHORT, "--uplinks", "0", "--runs", "2", "--json", module="commands")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert len(document["runs"]) == 2
    for run in document["runs"]:
        assert (run["calls"], run["errors"], run["uplink_p50"]) == (50, 0, None)
    assert document["workload"]["targets"] == 3


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--rate", "2001"), 2, "'2001' is not a number from 0.1 to 2000"),
        (("--targets", "none"), 2, "'none' is not a number from 1 to 10000"),
        (("--folder", "no-such-folder"), 1, "No such file"),
    ],
)
def test_bad_arguments_get_a_sentence(arguments: tuple[str, ...], code: int, sentence: str) -> None:
    """What cannot be measured is said in one sentence, without a traceback."""
    done = benchmark(*arguments, module="commands")
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


class TwiceAnswered(CommandDevice):
    """Hands each command on twice, as if it had come twice."""

    def _take_command(self, first: int, body: bytes) -> None:
        super()._take_command(first, body)
        super()._take_command(first, body)


def make_calls(hub: Hub, key: str) -> tuple[Calls, list[str]]:
    """Ten calls to the device, and what was wrong with them."""
    faults: list[str] = []
    calls = Calls(hub.http_url.removeprefix("http://"), key, [(DeviceId("P", "inv"), SECRET)], faults.append)

    async def run() -> None:
        await calls.join(BenchmarkHub(hub.host, hub.port))
        await calls.run(100, 0, 0.1)
        calls.close()

    asyncio.run(run())
    return calls, faults


def test_wrong_answers_fail_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that are refused, and commands that come twice, are told and not measured."""
    with run_hub(registry=REGISTRY) as hub:
        calls, faults = make_calls(hub, KEY)
        assert (len(calls.latencies), faults) == (10, [])
        calls, faults = make_calls(hub, "the-key-of-a-reader")
        assert len(calls.latencies) == 0
        assert len(faults) == 10
        assert faults[0].startswith("call 0: 99403 the application reader needs the scope control")
        monkeypatch.setattr("benchmarks.calls.CommandDevice", TwiceAnswered)
        _, faults = make_calls(hub, KEY)
        assert faults[0] == "call 0: P/inv got 2 copies of its command"


def call(hub: Hub, code: int) -> tuple[dict[str, Any], list[Heard]]:
    """Set a value of a device that answers with a code; the envelope, and what the device got."""
    found: list[Heard] = []

    def hear(device: CommandDevice, heard: Heard) -> None:
        found.append(heard)
        device.answer(heard, code=code)

    async def run() -> dict[str, Any]:
        device = CommandDevice("P/inv", device_connect(DeviceId("P", "inv"), SECRET), hear)
        await device.join(hub.host, hub.port)
        with Caller(hub.http_url.removeprefix("http://"), KEY) as caller:
            envelope = await caller.set_measurepoint("P/inv", "temp", 1.5)
        device.close()
        await device.gone.wait()
        return envelope

    return asyncio.run(run()), found


def test_a_device_gets_commands_and_answers() -> None:
    """The generator's device and its caller, against a hub."""
    with run_hub(registry=REGISTRY) as hub:
        envelope, (heard,) = call(hub, 200)
        assert envelope["code"] == 0
        assert (heard.device, heard.params) == ("P/inv", {"temp": 1.5})
        assert heard.id == envelope["data"]["commandId"]
        envelope, _ = call(hub, 7)
        assert envelope["data"]["deviceCode"] == 7


def test_nobody_there_gets_a_sentence() -> None:
    """A hub that is not there, and one that knows nobody of that name."""

    async def run() -> None:
        device = CommandDevice("P/inv", device_connect(DeviceId("P", "inv"), "wrong"), lambda _, __: None)
        with pytest.raises(DeviceError, match=r"P/inv cannot connect to 127\.0\.0\.1:1: "):
            await device.join("127.0.0.1", 1)
        with run_hub(registry=REGISTRY) as hub:
            with pytest.raises(DeviceError, match="P/inv is refused with CONNACK 4"):
                await device.join(hub.host, hub.port)
            await device.gone.wait()
        with Caller("127.0.0.1:1", KEY) as caller, pytest.raises(CallerError, match="setMeasurepoint of P/inv: "):
            await caller.set_measurepoint("P/inv", "temp", 1)

    asyncio.run(run())
