"""The sample thing models that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import orjson
import pytest

import enos_ingest
from enos_ingest.models.catalogue import Catalogue
from enos_ingest.models.value_type import DataType, ValueType

FOLDER = Path(enos_ingest.__file__).parent / "schemas" / "models"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """The samples, loaded as a service loads them."""
    return Catalogue.load(FOLDER)


def test_samples_are_three_models(catalogue: Catalogue) -> None:
    """Each stands in the file that bears its modelId."""
    assert [model.model.model_id for model in catalogue.models()] == ["battery_rack", "gateway", "inverter"]
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == ["battery_rack", "gateway", "inverter"]


def test_samples_show_every_type(catalogue: Catalogue) -> None:
    """All data types, quality and bounds occur in them."""
    types: list[ValueType] = [
        point.type for model in catalogue.models() for point in model.model.measurepoints.values()
    ]
    assert {kind.data_type for kind in types} == set(get_args(DataType))
    assert {type(kind.choices[0]) for kind in types if kind.choices} == {int, str}
    assert {kind.item_type for kind in types if kind.data_type == "ARRAY"} == {"INT", "FLOAT", "DOUBLE", "STRING"}
    assert any(kind.minimum is not None and kind.maximum is not None for kind in types)
    assert any(point.has_quality for model in catalogue.models() for point in model.model.measurepoints.values())


def test_inverter_takes_the_sample_of_the_protocol(catalogue: Catalogue) -> None:
    """The points of the documents' own request are valid."""
    model = catalogue.get("inverter")
    assert model is not None
    points = orjson.loads('{"Power":{"value":1,"quality":9},"temp":1.02,"branchCurr":["1.02","2.02","7.93"]}')
    model.check(points)
    assert model.split("Power", points["Power"]) == (1, 9)
    model.check({"INV.GenActivePW": {"value": 12.5, "quality": 0}, "INV.State": 1})


def test_battery_rack_and_gateway_take_realistic_points(catalogue: Catalogue) -> None:
    """Structs, arrays, files and times as a device would report them."""
    rack, gateway = catalogue.get("battery_rack"), catalogue.get("gateway")
    assert rack is not None
    assert gateway is not None
    rack.check(
        {
            "BAT.CellExtremes": {"value": {"maxVoltage": 3.41, "minVoltage": 3.38, "maxTempCell": 17}, "quality": 0},
            "BAT.CellVoltages": [3401, 3398.5, "3400"],
            "BAT.Mode": "charge",
            "BAT.LastBalanced": "2024-09-30T15:30:00.123Z",
        }
    )
    gateway.check(
        {
            "GW.LogFile": "enos-connect://gateway/2024-09-30.log",
            "GW.Position": {"longitude": 121.47, "latitude": 31.23, "source": 1},
            "GW.NetworkType": "lte",
            "GW.CertificateExpires": "2026-01-31",
        }
    )


def test_samples_say_what_may_be_set_and_called(catalogue: Catalogue) -> None:
    """Meters and name plates are read-only; each sample has a service that takes something."""
    inverter, rack, gateway = (catalogue.get(name) for name in ("inverter", "battery_rack", "gateway"))
    assert inverter is not None
    assert rack is not None
    assert gateway is not None
    read_only = {point.identifier for point in inverter.model.measurepoints.values() if not point.writable}
    assert read_only == {"INV.APProduction", "INV.FaultCode", "INV.SN", "INV.FirmwareDate"}
    assert inverter.set_fault("temp", 21.5) is None
    limit = inverter.service("limitPower")
    assert limit is not None
    assert limit.input_fault({"limit": 60, "duration": 600}) is None
    assert str(limit.input_fault({"limit": 101})) == "limit: at most 100"
    assert limit.output_fault({"applied": 60}) is None
    assert sorted(inverter.model.services) == ["limitPower", "restart"]
    balance, ping = rack.service("balance"), gateway.service("ping")
    assert balance is not None
    assert ping is not None
    assert balance.input_fault({"window": {"lowest": 3.3, "highest": 3.4}, "cells": [1, 2]}) is None
    assert ping.input_fault({"host": "ems.local"}) is None
    assert inverter.model.services["limitPower"].title == {
        "defaultValue": "Limit the active power",
        "i18nValue": {"en_US": "Limit the active power", "zh_CN": "限制有功功率"},
    }
    assert all(service.title for each in (inverter, rack, gateway) for service in each.model.services.values())


def test_samples_say_what_a_device_is_and_tells_of(catalogue: Catalogue) -> None:
    """Each has attributes and events, and takes what its device would send."""
    inverter, rack, gateway = (catalogue.get(name) for name in ("inverter", "battery_rack", "gateway"))
    assert inverter is not None
    assert rack is not None
    assert gateway is not None
    for model, values in (
        (inverter, {"ratedPower": 110, "manufacturer": "x", "commissioned": "2024-09-30", "strings": 12}),
        (rack, {"capacity": 372.7, "chemistry": "LFP", "limits": {"maxTemp": 55.0}}),
        (gateway, {"site": "x", "position": {"longitude": 121.47, "latitude": 31.23}, "maintained": True}),
    ):
        assert set(values) == set(model.model.attributes)
        assert model.attributes.fault(values) is None
    for model, event, fields in (
        (inverter, "gridFault", {"code": 3, "voltage": 231.5, "text": "x"}),
        (inverter, "restarted", {}),
        (rack, "thermalAlarm", {"cells": [17, 18], "maxTemp": 61.0}),
        (gateway, "doorOpened", {"by": "x"}),
        (gateway, "error", {"code": 7}),
    ):
        found = model.event(event)
        assert found is not None
        assert found.event.event_type in {"INFO", "WARN", "ERROR"}
        assert found.fault(fields) is None
