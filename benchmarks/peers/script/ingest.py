"""Ingestion as one writes it by hand: paho-mqtt beside a broker, jsonschema, sqlite3.

    python ingest.py --registry FILE --envelopes DIR --models DIR --database FILE --port PORT

Each message is checked, committed by itself and then answered.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import sqlite3
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

_HOST = "127.0.0.1"
_TOPICS = ("/sys/+/+/thing/measurepoint/resume", "/sys/+/+/thing/measurepoint/resume/batch")
_TABLES = Path(__file__).parent.parent / "tables.sql"


class RefusalError(Exception):
    """A request that is answered with a code other than 200."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Validators:
    """JSON Schema validators, made once: of the envelopes by topic, of the thing models by device."""

    def __init__(self, registry: Path, envelopes: Path, models: Path) -> None:
        document = tomllib.loads(registry.read_text("utf-8"))
        of_model = {row["model"]: _validator(models / f"{row['model']}.json") for row in document["products"]}
        of_product = {row["key"]: of_model[row["model"]] for row in document["products"]}
        self._of_device = {(row["product"], row["key"]): of_product[row["product"]] for row in document["devices"]}
        self._of_method = {
            "resume": _validator(envelopes / "measurepoint-resume.json"),
            "batch": _validator(envelopes / "measurepoint-resume-batch.json"),
        }

    def items(self, topic: str, request: Any) -> list[Mapping[str, Any]]:
        """The items of a request, checked.

        Raises:
            RefusalError: the request is no such request, or a point does not fit its model.
        """
        _, _, product_key, device_key, *_, method = topic.split("/")
        _check(self._of_method[method], request, 1206)
        items: list[Mapping[str, Any]] = request["params"] if method == "batch" else [request["params"]]
        points = self._of_device.get((product_key, device_key))
        for item in items:
            named = (item.get("productKey") or product_key, item.get("deviceKey") or device_key)
            # A gateway's sub-devices are not served: every item is the device's own.
            if points is None or named != (product_key, device_key):
                raise RefusalError(1212, "an item of another device")
            _check(points, item["measurepoints"], 1204)
        return items


class Store:
    """The points in a SQLite database."""

    def __init__(self, file: Path) -> None:
        self._database = sqlite3.connect(file)
        self._database.executescript(
            f"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; {_TABLES.read_text('utf-8')}"
        )
        self._series: dict[tuple[str, str, str], int] = {}

    def commit(self, topic: str, items: list[Mapping[str, Any]]) -> None:
        """Store the points of one message in a transaction of its own."""
        _, _, product_key, device_key, *_ = topic.split("/")
        with self._database:
            self._database.executemany(
                "INSERT INTO points (series, time, value, quality) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (series, time) DO UPDATE SET value = excluded.value, quality = excluded.quality",
                list(self._rows(product_key, device_key, items)),
            )

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _rows(
        self, product_key: str, device_key: str, items: list[Mapping[str, Any]]
    ) -> Iterator[tuple[int, int, str, int | None]]:
        for item in items:
            when = item.get("time")
            when = int(time.time() * 1000 if when is None else when)
            for point, value in item["measurepoints"].items():
                quality = None
                if isinstance(value, dict) and value.keys() == {"value", "quality"}:
                    value, quality = value["value"], value["quality"]  # noqa: PLW2901 - the point without its quality
                yield self._series_of((product_key, device_key, point)), when, json.dumps(value), quality

    def _series_of(self, name: tuple[str, str, str]) -> int:
        if name not in self._series:
            self._database.execute(
                "INSERT OR IGNORE INTO series (product_key, device_key, measurepoint) VALUES (?, ?, ?)", name
            )
            (self._series[name],) = self._database.execute(
                "SELECT id FROM series WHERE product_key = ? AND device_key = ? AND measurepoint = ?", name
            ).fetchone()
        return self._series[name]


def answer(validators: Validators, store: Store, topic: str, payload: bytes) -> str:
    """Check and store one message; returns its reply."""
    request: Any = None
    try:
        try:
            request = json.loads(payload)
        except ValueError:
            raise RefusalError(1206, "the payload is not JSON") from None
        store.commit(topic, validators.items(topic, request))
    except RefusalError as refusal:
        reply = {"id": _id(request), "code": refusal.code, "data": {}, "message": str(refusal)}
    else:
        reply = {"id": _id(request), "code": 200, "data": {}}
    return json.dumps(reply, separators=(",", ":"))


def main() -> int:
    """Serve until SIGTERM; 1 where the broker ends the connection."""
    parser = argparse.ArgumentParser()
    for name in ("--registry", "--envelopes", "--models", "--database"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()

    validators = Validators(options.registry, options.envelopes, options.models)
    store = Store(options.database)
    client = Client(
        CallbackAPIVersion.VERSION2, "ingest", protocol=MQTTProtocolVersion.MQTTv311, reconnect_on_failure=False
    )
    client.max_inflight_messages_set(0)

    def on_connect(*_: Any) -> None:
        client.subscribe([(topic, 1) for topic in _TOPICS])

    def on_message(_: Client, __: Any, message: MQTTMessage) -> None:
        reply = answer(validators, store, message.topic, bytes(message.payload))
        client.publish(f"{message.topic}_reply", reply, message.qos)

    client.on_socket_open = _send_at_once
    client.on_connect = on_connect
    client.on_subscribe = lambda *_: print(f"listening {_HOST}:{options.port}", flush=True)
    client.on_message = on_message
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        client.connect(_HOST, options.port)
        client.loop_forever()
    finally:
        store.close()
    print("the broker ended the connection", file=sys.stderr)
    return 1


def _validator(path: Path) -> Draft202012Validator:
    return Draft202012Validator(json.loads(path.read_text("utf-8")))


def _check(validator: Draft202012Validator, value: Any, code: int) -> None:
    error = next(validator.iter_errors(value), None)
    if error is not None:
        raise RefusalError(code, f"{error.json_path} {error.message}")


def _id(request: Any) -> str:
    found = request.get("id") if isinstance(request, dict) else None
    return "" if found is None else str(found)


def _send_at_once(_: Client, __: Any, sock: Any) -> None:
    # Nagle's algorithm would hold each reply back until the one before is acknowledged.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


if __name__ == "__main__":
    sys.exit(main())
