"""`enos-ingest models`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import pytest

from tests.cli.conftest import Command

SAMPLES = Path(__file__).parents[2] / "schemas" / "models"


def test_ls_of_the_samples(run: Command) -> None:
    """Without a models folder the packaged samples are listed, and that is said."""
    done = run("models", "ls")
    assert done.code == 0
    assert [line.split()[:2] for line in done.out.splitlines()] == [
        ["battery_rack", "13"],
        ["gateway", "11"],
        ["inverter", "13"],
    ]
    assert done.err == "(the packaged samples: there is no models folder here)\n"


def test_ls_of_a_folder(run: Command, folder: Path) -> None:
    """The models of the folder `models`, or of the one that is set, beside the configuration file."""
    (folder / "models").mkdir()
    shutil.copy(SAMPLES / "inverter.json", folder / "models")
    assert run("models", "ls") == (0, "inverter    13 measurement points  PV string inverter\n", "")
    (folder / "models").rename(folder / "things")
    config = folder / "hub.toml"
    config.write_text('[models]\npath = "things"\n')
    assert run("models", "ls", "-c", config).out.startswith("inverter ")


def test_ls_of_an_unusable_folder(run: Command, folder: Path) -> None:
    """One sentence says which file cannot be used, or that there is none."""
    (folder / "models").mkdir()
    done = run("models", "ls")
    assert (done.code, done.out) == (1, "")
    assert (
        done.err
        == f"enos-ingest: models: no thing model in {folder}/models: put ThingModel JSON files (*.json) there\n"
    )
    (folder / "models" / "x.json").write_text("[]")
    done = run("models", "ls")
    assert done.code == 1
    assert done.err.startswith(f"enos-ingest: {folder}/models/x.json: ")


def test_check_says_of_each_file_what_it_is(run: Command, folder: Path) -> None:
    """Good files and bad ones, a line each; one bad one is enough for exit code 1."""
    good = [SAMPLES / "inverter.json", SAMPLES / "gateway.json"]
    done = run("models", "check", *good)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"{good[0]}: inverter, 13 measurement points (9 writable), 2 services, 4 attributes, 2 events",
        f"{good[1]}: gateway, 11 measurement points (11 writable), 1 service, 3 attributes, 2 events",
    ]
    broken, typo = folder / "broken.json", folder / "typo.json"
    broken.write_text("{")
    typo.write_text((SAMPLES / "inverter.json").read_text().replace('"dataType": "FLOAT"', '"dataType": "FLOOT"'))
    done = run("models", "check", broken, good[0], typo, folder / "missing.json", folder)
    assert done.code == 1
    assert done.out.splitlines() == [
        f"{good[0]}: inverter, 13 measurement points (9 writable), 2 services, 4 attributes, 2 events"
    ]
    said = done.err.splitlines()
    assert len(said) == 4
    assert said[0].startswith(f"enos-ingest: {broken}: not JSON: ")
    assert said[1].startswith(f"enos-ingest: {typo}: measurepoints.INV.TempEquipment.dataType: ")
    assert said[2] == f"enos-ingest: {folder}/missing.json: cannot be read: No such file or directory"
    assert said[3] == f"enos-ingest: {folder}: not a file"


def test_schema_is_one_that_validates(run: Command) -> None:
    """The printed schema is JSON Schema 2020-12 and judges measurement points as the hub does."""
    done = run("models", "schema", "inverter")
    assert (done.code, done.err) == (0, "")
    schema = json.loads(done.out)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid({"temp": 21.5, "Power": {"value": 1, "quality": 9}})
    assert not validator.is_valid({"temp": "warm"})
    assert not validator.is_valid({"nonsense": 1})


def test_schema_of_an_unknown_model(run: Command) -> None:
    """The models that there are are named."""
    said = "enos-ingest: toaster: no such thing model (there are: battery_rack, gateway, inverter)\n"
    assert run("models", "schema", "toaster") == (1, "", said)


@pytest.mark.parametrize("arguments", [[], ["check"], ["schema"], ["schema", "a", "b"], ["lint"]])
def test_wrong_usage(run: Command, arguments: list[str]) -> None:
    """Missing, surplus and unknown words end with exit code 2."""
    done = run("models", *arguments)
    assert (done.code, done.out) == (2, "")
    assert "usage: enos-ingest" in done.err
