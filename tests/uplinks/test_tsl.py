"""`tsltemplate/get`: who gets which thing model, over both ways that there are, and the codes of who gets none."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from enos_ingest.devices.presence import Presence
from enos_ingest.outcome import Outcome
from enos_ingest.pipeline import Message, Pipeline
from enos_ingest.testing.client import TestClient
from enos_ingest.testing.hub import run_hub
from tests.cases.world import (
    BARE,
    CHANNEL,
    DIRECT,
    GATEWAY,
    METERS,
    MODELS,
    NEIGHBOUR,
    REGISTRY,
    SHARED,
    SOLO,
    SUB_1,
    identity,
    secret_of,
)
from tests.models.documents import point, thing_model
from tests.process import eventually
from tests.uplinks.parts import directory, models

REQUEST = {"id": "7", "version": "1.0", "method": "thing.tsltemplate.get", "params": {}}


def topic(device: str) -> str:
    """Where a device asks."""
    return f"/sys/{device}/thing/tsltemplate/get"


def ask(device: str, request: Any = REQUEST, *, sender: str = "") -> Outcome:
    """What the pipeline says to one who asks for a device's model, with SUB_1 and SHARED logged in by two gateways."""
    online = Presence()
    online.connect(identity(SOLO))  # type: ignore[arg-type]
    online.login(identity(GATEWAY), identity(SUB_1))  # type: ignore[arg-type]
    online.login(identity(NEIGHBOUR), identity(SHARED))  # type: ignore[arg-type]
    payload = request if isinstance(request, bytes) else orjson.dumps(request)
    outcome = Pipeline(directory, models(), online).process(
        Message(topic(device), payload, 1, identity(sender or device))
    )
    assert outcome is not None
    return outcome


@pytest.mark.parametrize(
    ("device", "sender", "model"),
    [(GATEWAY, GATEWAY, "gateway"), (DIRECT, DIRECT, "gateway"), (SUB_1, GATEWAY, "meter"), (SOLO, SOLO, "meter")],
)
def test_a_device_gets_the_model_of_its_product(device: str, sender: str, model: str) -> None:
    """Whole, in the reply; nothing is stored for it."""
    outcome = ask(device, sender=sender)
    reply = orjson.loads(outcome.reply)
    assert reply == {"id": "7", "code": 200, "data": models()[model].template}
    assert list(reply["data"]["tslMeasurepointMap"]) == list(models()[model].model.measurepoints)
    assert outcome.record is None


@pytest.mark.parametrize(
    "changes",
    [{"params": None}, {"params": {"more": 1}}, {"version": "1.1"}, {"version": None}, {"id": 7}],
    ids=str,
)
def test_nothing_is_asked_of_the_params(changes: dict[str, Any]) -> None:
    """There is nothing to say in them."""
    assert ask(DIRECT, {**REQUEST, **changes}).code == 200


@pytest.mark.parametrize(
    ("device", "sender", "request_", "code", "message"),
    [
        (DIRECT, "", b"", 1251, "payload is empty"),
        (DIRECT, "", b"{", 1220, "payload is not JSON"),
        (DIRECT, "", {**REQUEST, "params": []}, 1220, "params: expected an object"),
        (DIRECT, "", {**REQUEST, "method": "tsl"}, 1260, 'method: expected "thing.tsltemplate.get"'),
        (DIRECT, GATEWAY, REQUEST, 1009, f"{GATEWAY} may not speak for {DIRECT}"),
        (f"{METERS}/nobody", GATEWAY, REQUEST, 1009, f"{GATEWAY} may not speak for {METERS}/nobody"),
        (DIRECT, CHANNEL, REQUEST, 1009, f"{identity(CHANNEL)} may not speak for {DIRECT}"),
        (SHARED, GATEWAY, REQUEST, 1212, f"{SHARED} is offline"),
        (BARE, "", REQUEST, 1204, f"params: product {BARE.partition('/')[0]}: has no thing model"),
    ],
)
def test_who_gets_no_model_is_told_why(device: str, sender: str, request_: Any, code: int, message: str) -> None:
    """With the common codes, and empty data."""
    outcome = ask(device, request_, sender=sender)
    assert (outcome.code, orjson.loads(outcome.reply)["data"]) == (code, {})
    assert outcome.reason.startswith(message)


def test_a_model_is_told_as_it_is_now() -> None:
    """From a device's connection and from an operator's; after a change of the file the next reply has it."""
    settings = {"security.anonymous": True}
    with (
        run_hub(registry=REGISTRY, models=MODELS, settings=settings) as hub,
        hub.connect(GATEWAY) as gateway,
        hub.connect_operator() as operator,
    ):

        def points(client: TestClient, device: str) -> list[str]:
            data = client.request(topic(device), REQUEST)["data"]
            return list(data["tslMeasurepointMap"]) if data else []

        assert points(operator, GATEWAY) == points(gateway, GATEWAY) == list(MODELS[0]["measurepoints"])
        assert points(gateway, SUB_1) == []
        assert gateway.login(SUB_1, secret_of(SUB_1))["code"] == 200
        assert points(gateway, SUB_1) == points(operator, SUB_1) == list(MODELS[1]["measurepoints"])
        folder = hub.settings.models_folder()[0]
        (file,) = [path for path in folder.glob("*.json") if orjson.loads(path.read_bytes())["modelId"] == "meter"]
        file.write_bytes(orjson.dumps(thing_model("meter", changed=point("INT"))))
        eventually(lambda: points(gateway, SUB_1) == ["changed"])


def test_a_large_model_is_told_whole() -> None:
    """5000 points are more than a megabyte, more than a device may send."""
    names = [f"point-{index}" for index in range(5000)]
    large = thing_model("gateway", **{name: point("DOUBLE", minimum=0, name=f"Point {name}") for name in names})
    with run_hub(registry=REGISTRY, models=[large, MODELS[1]]) as hub, hub.connect(GATEWAY) as gateway:
        assert list(gateway.request(topic(GATEWAY), REQUEST)["data"]["tslMeasurepointMap"]) == names
