"""A hub with everything that calls about commands can meet: points of each kind, services, devices in each state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from enos_ingest.testing.hub import Hub, run_hub
from tests.models.documents import point, thing_model

__all__ = ["BARE", "CODED", "COMMANDS", "DEVICE", "KEYS", "ORG", "PRODUCT", "Site", "data", "run_site", "stored"]

COMMANDS = "/connect-service/v2.1/commands"
ORG = "o15535059999891"
PRODUCT = "6Bt59ySj"
DEVICE = f"{PRODUCT}/zBAofs6D4s"
KEYS = {"productKey": PRODUCT, "deviceKey": "zBAofs6D4s"}
"""How calls name it."""
CODED = "Coded001"
"""A product with a format of its own."""
BARE = "Bare0001"
"""A product without a thing model."""

_STRUCT = {"items": [point("INT", identifier="x", required=True), point("STRING", identifier="unit")]}
_ENUM = {"enumType": "INT", "enumDesc": {"0": "off", "1": "on"}}
_LIMIT = [
    point("DOUBLE", identifier="limit", minimum=0, maximum=100),
    point("INT", identifier="duration", required=False),
]

MODEL = {
    **thing_model(
        "pump",
        measurepoint1=point("DOUBLE", name={"defaultValue": "Set point", "i18nValue": {"en_US": "Set point"}}),
        level=point("INT"),
        speed=point("INT", hasQuality=True),
        mode=point("ENUM", _ENUM),
        label=point("STRING", {"maxLength": 8}),
        on=point("BOOL"),
        curve=point("ARRAY", {"itemType": "FLOAT"}),
        position=point("STRUCT", _STRUCT),
        counter=point("INT", accessMode="R"),
    ),
    "services": {
        "restart": {"inputData": [], "outputData": []},
        "limit": {
            "name": {"defaultValue": "Limit", "i18nValue": {}},
            "inputData": _LIMIT,
            "outputData": [point("DOUBLE", identifier="applied", required=True)],
        },
    },
}

REGISTRY: dict[str, Any] = {
    "products": [
        {"key": PRODUCT, "secret": "s", "model": "pump"},
        {"key": CODED, "secret": "s", "model": "pump", "codec": "enos_ingest.codecs.sample:codec"},
        {"key": BARE, "secret": "s"},
    ],
    "devices": [
        {"product": PRODUCT, "key": "zBAofs6D4s", "secret": "x", "asset_id": "asset-1"},
        {"product": PRODUCT, "key": "other", "secret": "x", "asset_id": "asset-2"},
        {"product": PRODUCT, "key": "offline", "secret": "x"},
        {"product": PRODUCT, "key": "never", "secret": "x"},
        {"product": PRODUCT, "key": "disabled", "secret": "x"},
        {"product": PRODUCT, "key": "gateway", "secret": "x"},
        {"product": PRODUCT, "key": "sub", "secret": "x"},
        {"product": CODED, "key": "coded", "secret": "x"},
        {"product": BARE, "key": "bare", "secret": "x"},
    ],
    "gateways": [{"device": f"{PRODUCT}/gateway", "sub_devices": [f"{PRODUCT}/sub"]}],
    "applications": [
        {
            "name": "scada",
            "key": "app-key",
            "secret": "app-secret",
            "api_key": "key-scada",
            "scopes": ["control", "read"],
        },
        {"name": "viewer", "api_key": "key-viewer", "scopes": ["read"]},
        {"name": "remote", "api_key": "key-remote", "scopes": ["control"]},
        {"name": "nobody", "api_key": "key-nobody", "scopes": []},
    ],
}


class Site:
    """A running hub, and calls to it."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.http = httpx.Client(base_url=hub.http_url, trust_env=False, timeout=70)

    def call(
        self,
        action: str | None,
        query: Mapping[str, object] | None = None,
        body: bytes | None = None,
        *,
        method: str = "POST",
        application: str | None = "scada",
    ) -> httpx.Response:
        """One call, with orgId unless the query has it; an item that is None is left out."""
        items = {"action": action, "orgId": ORG, **(query or {})}
        headers = {} if application is None else {"Authorization": f"Bearer key-{application}"}
        parameters = {name: str(value) for name, value in items.items() if value is not None}
        return self.http.request(method, COMMANDS, params=parameters, content=body, headers=headers)

    def set(
        self, point_id: str | None = "measurepoint1", body: bytes = b'{"value":1.0}', **query: object
    ) -> httpx.Response:
        """setMeasurepoint, of the seeds' device unless the query says otherwise."""
        items = {**KEYS, "measurepointId": point_id, **query}
        return self.call("setMeasurepoint", items, body)

    def invoke(
        self, service: str | None = "limit", body: bytes = b'{"inputData":{"limit":60}}', **query: object
    ) -> httpx.Response:
        """invokeService, likewise."""
        items = {**KEYS, "serviceId": service, **query}
        return self.call("invokeService", items, body)


@contextmanager
def run_site(**settings: object) -> Iterator[Site]:
    """Run the hub; the devices `offline`, `disabled` and `sub` have been online, and are not."""
    # A busy machine does not overrun the codec.
    known = {"registry.org_id": ORG, "codecs.seconds": 20.0}
    every = {**known, **{name.replace("__", "."): value for name, value in settings.items()}}
    with run_hub(registry=REGISTRY, models=[MODEL], settings=every) as hub:
        for key in ("offline", "disabled"):
            hub.connect(f"{PRODUCT}/{key}").disconnect()
        with hub.connect(f"{PRODUCT}/gateway") as gateway:
            assert gateway.login(f"{PRODUCT}/sub", "x")["code"] == 200
        hub.apply({"devices": [{"product": PRODUCT, "key": "disabled", "secret": "x", "enabled": False}]})
        site = Site(hub)
        with site.http:
            yield site


def data(response: httpx.Response, code: int = 0) -> Any:
    """`data` of an envelope with this code."""
    body = response.json()
    assert (body["code"], response.status_code) == (code, 200), body
    return body["data"]


def stored(site: Site, command_id: str) -> dict[str, Any]:
    """A command as the API shows it."""
    command: dict[str, Any] = data(site.call("get", {"commandId": command_id}, method="GET"))
    return command
