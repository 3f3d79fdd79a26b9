"""The simulated plant, for some seconds: 20 gateways with 100 sub-devices each."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.plant import Plant, main, run_plant
from enos_ingest.storage.reader import SqliteReader


def test_a_plant_in_small(tmp_path: Path) -> None:
    """2 000 sub-devices report, a gateway is killed and replaced: presence and points are exact at the end."""
    said: list[str] = []
    assert run_plant(Plant(rounds=6, seconds=0.2), tmp_path, said.append) == []
    assert said[0] == "presence of 2,021 devices as it must be"
    assert said[-1].endswith("points are stored; missing, too many or wrong: none")


def test_a_plant_finds_what_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that leaves a device out is found out."""
    read = SqliteReader.points
    monkeypatch.setattr(
        SqliteReader, "points", lambda self, *device: [] if device[1] == "sub-1-0" else read(self, *device)
    )
    faults = run_plant(Plant(rounds=3, seconds=0, gateways=4, sub_devices=2), tmp_path, lambda _: None)
    assert faults
    assert all(fault.startswith(("PlantInv/sub-1-0: ", "and ")) for fault in faults)


def test_the_command_refuses_a_plant_that_is_too_small(capsys: pytest.CaptureFixture[str]) -> None:
    """Four gateways have a part each: one is killed, one replaced by itself, two leave in different ways."""
    with pytest.raises(SystemExit):
        main(["--gateways", "3"])
    assert "'3' is not a number from 4 to 1000" in capsys.readouterr().err
