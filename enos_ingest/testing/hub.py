"""The hub in a thread of this process, on free ports, with its files in a folder of its own."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from enos_ingest.clock import epoch_ms
from enos_ingest.config import load_settings
from enos_ingest.devices.declaration import (
    Declaration,
    check_declaration,
    parse_declaration,
    read_declaration,
)
from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.models.catalogue import Catalogue
from enos_ingest.outcome import Point
from enos_ingest.protocol.credentials import Credentials, make_credentials
from enos_ingest.protocol.identity import CHANNEL_DEVICE_KEY, Channel, DeviceId, Publisher
from enos_ingest.service import Service
from enos_ingest.settings import PACKAGED_MODELS, Settings
from enos_ingest.slots import as_toml
from enos_ingest.storage.reader import SqliteReader
from enos_ingest.storage.registry import open_registry
from enos_ingest.storage.store import QuarantineEntry
from enos_ingest.testing.application import TestApplication
from enos_ingest.testing.client import TestClient

__all__ = ["Hub", "run_hub"]

_ALL = 10**6
_NAMED = 10
"""Devices that a sentence names."""
_SECONDS = 30.0
"""How long anything may take that a test waits for."""
_LOOK_SECONDS = 0.01


@contextlib.contextmanager
def run_hub(
    *,
    registry: str | Path | Mapping[str, Any] = "",
    models: str | Path | Iterable[Path | Mapping[str, Any]] | None = None,
    settings: Mapping[str, object] | None = None,
    folder: Path | None = None,
) -> Iterator[Hub]:
    """Run a hub until the block ends.

    Args:
        registry: a registry file's TOML text, its path, or the same as a dict.
        models: a folder of thing models, or the models themselves, as paths or dicts; None for the packaged samples.
        settings: any settings, such as `{"limits.in_flight": 10, "security.anonymous": True}`.
        folder: where the database goes, so that a second hub can find what the first stored; by default a
            temporary folder that is removed at the end.

    Raises:
        EnosIngestError: what would keep the service from starting.
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="enos-ingest-")))
        overrides = {
            "mqtt.bind": "127.0.0.1:0",
            "http.bind": "127.0.0.1:0",
            "storage.url": f"sqlite:///{folder / 'enos-ingest.db'}",
            "models.path": str(_models_folder(models, folder)),
            **{name: value if isinstance(value, str) else as_toml(value) for name, value in (settings or {}).items()},
        }
        hub = Hub(load_settings(None, {}, overrides, origin="settings"))
        hub.apply(registry)
        hub.start()
        stack.callback(hub.stop)
        yield hub


class Hub:
    """A running hub; made by `run_hub`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._service: Service
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._api_keys: dict[str, str] = {}

    @property
    def host(self) -> str:
        """Where MQTT is served."""
        return self._service.mqtt_address.host

    @property
    def port(self) -> int:
        """Where MQTT is served."""
        return self._service.mqtt_address.port

    @property
    def http_url(self) -> str:
        """The start of HTTP addresses, such as `http://127.0.0.1:8080`."""
        return f"http://{self._service.http_address}"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.settings.base / self.settings.storage.url.removeprefix("sqlite:///")

    @property
    def directory(self) -> Directory:
        """The registry as the running hub sees it."""
        return self._service.directory()

    def start(self) -> None:
        """Start in a thread; returns when clients can connect, raises what keeps the hub from starting."""
        started = threading.Event()
        self._failure = None
        self._thread = threading.Thread(target=self._run, args=(started,), name="enos-ingest hub", daemon=True)
        self._thread.start()
        started.wait()
        self._raise_failure()

    def stop(self) -> None:
        """Drain and stop, as SIGTERM does; does nothing when it has been stopped."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        thread.join()
        self._raise_failure()

    def apply(self, registry: str | Path | Mapping[str, Any], *, prune: bool = False) -> None:
        """Declare what a registry file would; returns when a running hub has taken it up, within a second."""
        declaration = _declaration(registry)
        models = {item.model.model_id for item in Catalogue.load(self.settings.models_folder()[0]).models()}
        with open_registry(self.database) as opened:
            opened.declare(declaration, models, prune=prune)
            revision = opened.revision()
        if prune:
            self._api_keys.clear()
        for row in declaration.rows("applications"):
            if "api_key" in row:
                self._api_keys[row["name"]] = row["api_key"]
        if self._thread is None:
            return
        deadline = time.monotonic() + _SECONDS
        while self._service.revision < revision:
            if time.monotonic() > deadline:
                raise TimeoutError("the hub does not take the changed registry up")
            time.sleep(_LOOK_SECONDS)  # the hub, in its own thread, tells nobody that it has looked

    def credentials(self, client: str) -> Credentials:
        """What `PRODUCT/DEVICE`, or `PRODUCT/%channel%`, puts into CONNECT."""
        with open_registry(self.database, read_only=True) as opened:
            directory = opened.directory()
        product_key, _, device_key = client.partition("/")
        publisher: Publisher
        row: Product | Device | None
        if device_key == CHANNEL_DEVICE_KEY:
            publisher, row = Channel(product_key), directory.products.get(product_key)
        else:
            publisher = DeviceId(product_key, device_key)
            row = directory.devices.get(publisher)
        if row is None:
            raise LookupError(f"{client} is not declared; {_declared(directory)}")
        if not row.secret:
            why = f"product {product_key} has no secret" if isinstance(row, Product) else "it has no secret yet"
            raise LookupError(f"{client} cannot sign in: {why}")
        return make_credentials(publisher, row.secret, epoch_ms())

    def connect(self, client: str) -> TestClient:
        """Connect as `PRODUCT/DEVICE`, or as the channel `PRODUCT/%channel%`; disconnect it, or use `with`.

        A device has one connection: this ends an older one.
        """
        return TestClient(self.host, self.port, self.credentials(client), client)

    def connect_operator(self, name: str = "", password: str = "") -> TestClient:
        """Connect as an operator; without a name as an anonymous one."""
        return TestClient(self.host, self.port, Credentials("", name, password), "")

    def application(self, name: str = "") -> TestApplication:
        """An application that calls the REST API with its API key, as it was declared to this hub.

        Args:
            name: one of them; by default the first, and where there is none, one that may do everything is declared.
        """
        if not name and not self._api_keys:
            row = {"name": "tests", "api_key": secrets.token_hex(16), "scopes": ["control", "read", "admin"]}
            self.apply({"applications": [row]})
        if name and name not in self._api_keys:
            known = ", ".join(self._api_keys) or "none"
            raise LookupError(f"no application {name} is declared with an api_key; there are {known}")
        key = self._api_keys[name] if name else next(iter(self._api_keys.values()))
        return TestApplication(self.http_url, key, self.settings.registry.org_id)

    def points(self, device: str, *, latest: bool = False) -> list[Point]:
        """The stored points of `PRODUCT/DEVICE`, by measurement point and time."""
        product_key, _, device_key = device.partition("/")
        with SqliteReader(self.database) as reader:
            read = reader.latest if latest else reader.points
            return list(read(product_key, device_key))

    def quarantine(self) -> list[QuarantineEntry]:
        """Everything in quarantine, oldest first."""
        with SqliteReader(self.database) as reader:
            entries = (reader.quarantine_entry(row.id) for row in reader.quarantine(limit=_ALL))
            return [entry for entry in entries if entry is not None][::-1]

    def _raise_failure(self) -> None:
        """Raise what ended the thread; it has nothing left to do then."""
        if self._failure is not None:
            if self._thread is not None:
                self._thread.join()
            raise self._failure

    def _run(self, started: threading.Event) -> None:
        try:
            asyncio.run(self._serve(started))
        except BaseException as error:  # noqa: BLE001 - handed to the thread that started this one
            self._failure = error
        finally:
            started.set()

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._service = Service(self.settings)
        await self._service.start()
        started.set()
        await self._stop.wait()
        await self._service.stop()


def _models_folder(models: str | Path | Iterable[Path | Mapping[str, Any]] | None, folder: Path) -> Path:
    if models is None:
        return PACKAGED_MODELS
    if isinstance(models, str | Path):
        return Path(models).absolute()
    target = folder / "models"
    target.mkdir(exist_ok=True)
    for old in target.glob("*.json"):  # of an earlier hub in this folder
        old.unlink()
    for index, model in enumerate(models):
        content = model.read_bytes() if isinstance(model, Path) else orjson.dumps(model)
        (target / f"{index}.json").write_bytes(content)
    return target


def _declared(directory: Directory) -> str:
    """What a test may have meant."""
    channels = [f"{key}/{CHANNEL_DEVICE_KEY}" for key, product in directory.products.items() if product.secret]
    names = [*map(str, directory.devices), *channels]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"there are {', '.join(names[:_NAMED])}{more}" if names else "nothing is"


def _declaration(registry: str | Path | Mapping[str, Any]) -> Declaration:
    match registry:
        case Path():
            return read_declaration(registry)
        case str():
            return parse_declaration(registry, "registry")
        case _:
            return check_declaration(dict(registry), "registry")
