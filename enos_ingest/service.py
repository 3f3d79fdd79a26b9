"""The one place that knows all parts: builds them, starts them in order, drains them in reverse."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from enos_ingest import __version__
from enos_ingest.broker import EmbeddedBroker
from enos_ingest.clock import epoch_ms
from enos_ingest.codecs.codecs import Codecs
from enos_ingest.commands.commands import Commands, make_output_check
from enos_ingest.commands.dispatcher import Dispatcher
from enos_ingest.commands.ids import CommandIds
from enos_ingest.devices.changes import PresenceChanged
from enos_ingest.devices.declaration import read_declaration
from enos_ingest.devices.directory import Directory
from enos_ingest.devices.presence import Presence
from enos_ingest.endpoint.authentication import Authenticator
from enos_ingest.endpoint.listener import MqttListener
from enos_ingest.endpoint.mirror import Mirror
from enos_ingest.endpoint.relays import Relays
from enos_ingest.endpoint.sessions import Sessions
from enos_ingest.endpoint.tls import ServerCertificate
from enos_ingest.errors import CodecError, ConfigError, StorageError
from enos_ingest.http.app import HttpParts, create_app
from enos_ingest.http.callers import Callers
from enos_ingest.http.listener import HttpListener
from enos_ingest.http.logins import Logins
from enos_ingest.http.metrics import Metrics, Readings
from enos_ingest.http.token_service import TokenService
from enos_ingest.http.tokens import Tokens
from enos_ingest.intake import Intake
from enos_ingest.logs import get_logger
from enos_ingest.models.catalogue import Catalogue
from enos_ingest.outcome import Record
from enos_ingest.passthrough import Passthrough
from enos_ingest.pipeline import Pipeline
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.registry import LiveRegistry
from enos_ingest.settings import Settings
from enos_ingest.sockets import Bind
from enos_ingest.storage.commands import SqliteCommands
from enos_ingest.storage.facts import SqliteFacts
from enos_ingest.storage.registry import open_registry
from enos_ingest.storage.sqlite import parse_url
from enos_ingest.storage.store import StoredRegistry, Writer
from enos_ingest.storage.writer import SqliteWriter
from enos_ingest.subscriber import Subscriber

__all__ = ["Service"]

log = get_logger(__name__)

_REGISTRY_SECONDS = 0.5
"""How often a running service looks for a changed registry; it promises to see one within a second."""
_MODELS_SECONDS = 1.0
_PURGE_SECONDS = 600.0
_HTTP_STOP_SECONDS = 1.0
_IDLE_SECONDS = 0.005
"""How often the drain looks whether all is done: amqtt and the sockets between us tell nobody."""


class Service:
    """A whole node: `start`, then `stop`. One that failed to start has been taken down again.

    Args:
        open_writer: makes the store, from what `SqliteWriter` takes; another is for measuring the rest.

    Raises (from `start`):
        StartError, ConfigError, StorageError, ModelError, RegistryError: one sentence that says what to mend.
    """

    def __init__(self, settings: Settings, *, open_writer: Callable[..., Writer] = SqliteWriter) -> None:
        self.settings = settings
        self.database = parse_url(settings.storage.url, settings.base)
        self._open_writer = open_writer
        self._parts = contextlib.AsyncExitStack()
        self._certificate: ServerCertificate | None = None
        self._tls_address: Bind | None = None
        self._state = "new"

    @property
    def mqtt_address(self) -> Bind:
        """Where MQTT is served, with the port that port 0 became."""
        return self._mqtt_address

    @property
    def tls_address(self) -> Bind | None:
        """Where MQTT is served over TLS, None for nowhere."""
        return self._tls_address

    @property
    def http_address(self) -> Bind:
        """Where HTTP is served, with the port that port 0 became."""
        return self._http_address

    async def start(self) -> None:
        """Bring everything up; listeners last, so that nobody is served by half a hub."""
        try:
            await self._start_parts()
        except BaseException:
            await self._parts.aclose()
            raise
        self._state = "started"
        tls = {"tls": str(self.tls_address)} if self.tls_address else {}
        log.info("listening", version=__version__, mqtt=str(self.mqtt_address), **tls, http=str(self.http_address))
        if not self._live.directory.devices:
            log.warning("no device is declared yet: write a registry file, then `enos-ingest registry apply FILE.toml`")

    async def stop(self) -> None:
        """Stop accepting and reading, commit and answer what was read, then close; does nothing the second time."""
        if self._state != "started":
            return
        self._state = "draining"
        log.info("draining", connections=self._listener.connections, in_flight=self._intake.in_flight)
        # First those who wait for devices are told, as what devices publish from now on is dropped.
        await self._dispatcher.close()
        self._listener.stop_accepting()
        try:
            async with asyncio.timeout(self.settings.limits.drain_seconds):
                while not self._is_idle():
                    await asyncio.sleep(_IDLE_SECONDS)
        except TimeoutError:
            log.error("not everything that was read could be committed and answered in time", reasons=self._reasons())
        await self._parts.aclose()
        log.info("stopped")

    async def _start_parts(self) -> None:
        limits = self.settings.limits
        self._metrics = metrics = Metrics()

        self._catalogue = await asyncio.to_thread(self._load_models)
        self._writer = self._open_writer(
            self.database,
            quarantine_rows=limits.quarantine_rows,
            quarantine_bytes=limits.quarantine_bytes,
            on_state=self._store_state,
        )
        self._parts.push_async_callback(self._writer.close)
        self._live = LiveRegistry(self._writer)
        self._presence = Presence()
        self._presence.on_change = self._keep_presence
        self._parts.callback(self._presence.close)
        pipeline = Pipeline(
            self.directory,
            self._catalogue,
            self._presence,
            message_bytes=limits.message_bytes,
            max_future_seconds=limits.max_future_seconds,
            sub_devices_per_gateway=limits.sub_devices_per_gateway,
            change_registry=self._live.change,
        )
        self._intake = Intake(
            pipeline,
            self._live,
            self._metrics.uplink,
            in_flight=limits.in_flight,
            in_flight_bytes=limits.in_flight_bytes,
        )
        self._intake.not_activated = self._presence.forget_first_logins
        self._registry = open_registry(self.database)
        self._parts.callback(self._registry.close)
        await self._load_registry()
        await self._end_presence()
        await self._start_mqtt()
        self._start_commands()
        metrics.watch(
            Readings(
                connections=lambda: self._listener.connections,
                devices_online=lambda: self._presence.online,
                in_flight=lambda: self._intake.in_flight,
                certificate_expires=self._certificate_expires,
                incoming_bytes=lambda: self._listener.incoming.held,
                outgoing_bytes=lambda: self._listener.outgoing.unread,
                writer_stats=self._writer.stats,
                commands_waiting=lambda: self._dispatcher.waiting,
                commands_cached=lambda: self._dispatcher.cached,
            )
        )
        await self._start_http()

        for watch, seconds in (
            (self._watch_registry, _REGISTRY_SECONDS),
            (self._watch_models, _MODELS_SECONDS),
            (self._purge_commands, _PURGE_SECONDS),
        ):
            ended = asyncio.Event()
            task = asyncio.create_task(_every(seconds, watch, ended), name=watch.__name__)
            self._parts.push_async_callback(_ended, task, ended)

        await self._listen()

    async def _start_mqtt(self) -> None:
        """The embedded broker, and its subscriber on a loopback port of its own, before anyone else can connect."""
        self._broker = EmbeddedBroker(self.directory, unacknowledged=self.settings.limits.unacknowledged)
        await self._broker.start()
        self._parts.push_async_callback(self._broker.shutdown)
        authenticator = Authenticator(self.directory, anonymous=self.settings.security.anonymous)
        limits = self.settings.limits
        mirror = Mirror(self._metrics.mirror_dropped)
        next_id = self._next_id
        self._sessions = sessions = Sessions(
            authenticator, self.directory, self._presence, self._intake, mirror, self._metrics, limits, next_id
        )
        relays = Relays(self._broker, authenticator, self.directory, self._intake, mirror, self._metrics, limits)
        self._listener = MqttListener(authenticator, sessions, relays, self._intake, self._metrics, limits)
        self._parts.push_async_callback(self._listener.close)
        inside = await self._listener.listen(Bind("127.0.0.1", 0), inside=True)
        self._subscriber = Subscriber(self._intake, inside.host, inside.port, authenticator.hub_credentials)
        relays.arrived = lambda: self._subscriber.received
        self._parts.push_async_callback(self._subscriber.close)
        await self._subscriber.start()

    def _start_commands(self) -> None:
        """What sends commands, with those that an earlier run has left."""
        settings, limits = self.settings.commands, self.settings.limits
        self._codecs = Codecs(
            self.settings.codecs,
            folder=self.settings.codecs_folder(),
            message_bytes=limits.message_bytes,
        )
        self._parts.push_async_callback(self._codecs.close)
        self._passthrough = self._intake.raw_uplinks = Passthrough(
            self._intake,
            self.directory,
            self._codecs,
            message_bytes=limits.message_bytes,
            in_flight=limits.in_flight,
            in_flight_bytes=limits.in_flight_bytes,
        )
        self._parts.push_async_callback(self._passthrough.close)
        self._stored_commands = reader = SqliteCommands(self.database)
        self._parts.callback(reader.close)
        self._dispatcher = dispatcher = Dispatcher(
            self._writer,
            self._sessions,
            self._metrics,
            self.directory,
            cached_per_device=settings.cached_per_device,
            waiting=settings.waiting,
            answer_bytes=limits.message_bytes,
            decode=self._decode,
            output_fault=make_output_check(self.directory, self._catalogue.get),
        )
        self._parts.push_async_callback(dispatcher.close)
        dispatcher.restore(reader.unfinished())
        self._ids = CommandIds(settings.node, epoch_ms, reader.last_id())
        self._sessions.on_reachable = dispatcher.came_online
        self._intake.answered = dispatcher.answered
        self._commands = Commands(
            self.directory,
            self._catalogue.get,
            dispatcher,
            self._codecs,
            reader,
            has_logged_in=self._presence.has_logged_in,
            next_id=self._next_id,
            now=epoch_ms,
            org_id=self.settings.registry.org_id,
        )
        self._parts.callback(self._commands.close)

    async def _decode(self, device: DeviceId, data: bytes) -> dict[str, Any]:
        """An answer in the format of its device's product, which the registry may have lost since it was asked."""
        product = self._live.directory.products.get(device.product_key)
        if product is None:
            raise CodecError(f"product {device.product_key} is not declared any more")
        return await self._codecs.decode(product, data)

    async def _listen(self) -> None:
        """Serve clients, last of all."""
        mqtt = self.settings.mqtt
        if mqtt.tls_bind is not None:
            self._certificate = ServerCertificate(
                *self.settings.tls_files(),
                self.settings.tls_client_file(),
                client_required=mqtt.tls_client == "required",
            )
            self._tls_address = await self._listener.listen(
                mqtt.tls_bind, "mqtt.tls_bind", certificate=self._certificate
            )
        self._mqtt_address = await self._listener.listen(mqtt.bind, "mqtt.bind")

    def _certificate_expires(self) -> float | None:
        """When the certificate expires, in seconds since 1970."""
        expires = self._certificate.expires if self._certificate else None
        return expires.timestamp() if expires else None

    def reload_certificate(self) -> None:
        """Read the certificate and its key again; new connections are served with them."""
        if self._certificate is None:
            log.info("there is no certificate to read again, as mqtt.tls_bind is not set")
            return
        try:
            self._certificate.reload()
        except ConfigError as error:
            log.error("the certificate cannot be used, the last one stays in force", error=str(error))
        else:
            log.info("certificate reloaded", file=self.settings.mqtt.tls_certificate)

    async def _start_http(self) -> None:
        bind, limits, anonymous = self.settings.http.bind, self.settings.limits, self.settings.security.anonymous
        tokens, logins = Tokens(self.directory), Logins(limits.calls_per_second)
        parts = HttpParts(
            self._metrics,
            self._reasons,
            Callers(self.directory, tokens, logins, anonymous=anonymous, body_bytes=limits.http_body_bytes),
            TokenService(self.directory, tokens, logins),
            self._commands,
            open_metrics=bind.is_loopback or anonymous,
        )
        listener = HttpListener(
            create_app(parts), bind, connections=limits.http_connections, requests=limits.http_requests
        )
        listener.bind()
        self._parts.push_async_callback(listener.stop, _HTTP_STOP_SECONDS)
        await listener.start()
        self._http_address = listener.address

    @property
    def revision(self) -> int:
        """The revision of the registry that was read last: how far what is applied has arrived here."""
        return self._live.revision

    def _next_id(self) -> str:
        """The id of a message to a device: all have their numbers from one row."""
        return self._ids.next()

    def directory(self) -> Directory:
        """The registry as it is now."""
        return self._live.directory

    def _load_models(self) -> Catalogue:
        folder, samples = self.settings.models_folder()
        catalogue = Catalogue.load(folder)
        names = [model.model.model_id for model in catalogue.models()]
        if samples:
            log.info("no models folder here: the packaged sample models are used", models=names)
        else:
            log.info("thing models loaded", folder=str(folder), models=names)
        return catalogue

    async def _load_registry(self) -> None:
        file = self.settings.registry_file()
        if file is not None:
            await asyncio.to_thread(self._apply, file)
        await self._live.refresh(self._read_registry)
        for product in self._live.directory.products.values():
            if product.model and self._catalogue.get(product.model) is None:
                log.warning("thing model of a product is not loaded", product=product.key, model=product.model)
            if product.require_tls and self.settings.mqtt.tls_bind is None:
                log.warning("devices of a product must use TLS, and mqtt.tls_bind is not set", product=product.key)

    def _apply(self, file: Path) -> None:
        models = {model.model.model_id for model in self._catalogue.models()}
        for change in self._registry.declare(read_declaration(file), models):
            if change.is_made:
                log.info("registry changed", action=change.action, kind=change.kind, name=change.name)
            else:
                log.info(str(change))

    async def _watch_registry(self) -> None:
        try:
            found = await self._live.refresh(self._read_registry)
        except StorageError as error:
            log.error("the registry cannot be read, the last one stays in force", error=str(error))
            return
        if found:
            # Here, in the event loop: nobody is half way through being let in, and whoever is in is looked at at once.
            directory = self._live.directory
            log.info("registry reloaded", products=len(directory.products), devices=len(directory.devices))
            self._listener.close_invalid()
            for device in self._presence.forget_strangers(directory):
                log.info("offline, the registry changed", device=str(device))

    async def _read_registry(self) -> StoredRegistry | None:
        """The registry in the database, where it is another than ours."""
        return await asyncio.to_thread(self._changed_registry)

    def _changed_registry(self) -> StoredRegistry | None:
        is_ours = self._registry.revision() == self._live.revision and not self._live.is_stale
        return None if is_ours else self._registry.stored()

    def _keep_presence(self, device: DeviceId, online: bool, why: str, gateway: DeviceId | None) -> None:
        """Store that a device came or went; nobody waits for it."""
        now = epoch_ms()
        change = PresenceChanged(device, online, now, why, gateway)
        self._writer.commit(Record([], time=now, changes=(change,)), _log_unstored)

    async def _end_presence(self) -> None:
        """Store that those are offline whom an earlier run left online, which did not come to its end."""
        left = await asyncio.to_thread(self._left_online)
        for change in left:
            self._keep_presence(change.device, False, "crashed", change.gateway)
        if left:
            log.warning("devices were online when an earlier run was cut off", count=len(left))

    def _left_online(self) -> list[PresenceChanged]:
        """The devices that are online by what is stored."""
        with SqliteFacts(self.database) as facts:
            return [change for change in facts.last_presence().values() if change.online]

    async def _watch_models(self) -> None:
        for event in await asyncio.to_thread(self._catalogue.refresh):
            if event.kind == "missing":
                log.warning(event.message, model=event.model_id, file=event.source)
                continue
            in_force = event.kind in ("loaded", "replaced")
            self._metrics.model_reloaded("loaded" if in_force else "refused")
            write = log.info if in_force else log.error
            write(event.message, model=event.model_id, file=event.source)

    async def _purge_commands(self) -> None:
        """Delete finished commands that are too old or too many."""
        settings = self.settings.commands
        before = epoch_ms() - settings.kept_days * 86_400_000
        try:
            count = await asyncio.to_thread(self._stored_commands.purge, before, settings.kept)
        except StorageError as error:
            log.error("old commands cannot be deleted now", error=str(error))
        else:
            if count:
                log.info("old commands deleted", count=count)

    def _store_state(self, failure: str | None) -> None:
        self._intake.store_fails = failure is not None
        if failure is None:
            log.info("the store commits again")
        else:
            log.error("the store cannot commit: nothing is answered with 200 until it can", reason=failure)

    def _reasons(self) -> list[str]:
        """Why the hub is not ready, as sentences; none when it is."""
        reasons = []
        failure = self._writer.stats().failure
        if failure is not None:
            reasons.append(failure)
        if self._state == "draining":
            reasons.append("the hub is draining")
        elif self._state != "started":
            reasons.append("the hub is starting")
        if self._writer.stats().fold_failure is not None:
            reasons.append(f"points cannot be folded: {self._writer.stats().fold_failure}")
        if not self._subscriber.is_ready:
            reasons.append("the subscriber is not connected to the embedded broker")
        return reasons

    def _is_idle(self) -> bool:
        """Whether everything that was read has been committed and its answer written to the connection."""
        hub = self._listener.relays.hub
        return (
            self._listener.relays.is_idle
            and self._broker.is_idle
            and self._passthrough.in_flight == 0
            and self._intake.in_flight == 0
            and (
                hub is None or (hub.offered == self._subscriber.received and hub.published == self._subscriber.replied)
            )
        )


def _log_unstored(error: StorageError | None) -> None:
    """The store's word on a record that nobody waits for."""
    if error is not None:
        log.error("what a device did cannot be stored", error=str(error))


async def _every(seconds: float, work: Callable[[], Awaitable[None]], ended: asyncio.Event) -> None:
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await ended.wait()
                return
        try:
            await work()
        except Exception:  # out of file descriptors, for one: a watch that ended would never see a change again
            log.exception("a periodic task failed and will be tried again")


async def _ended(task: asyncio.Task[None], ended: asyncio.Event) -> None:
    """Let a periodic task come to its end: a thread of its may be reading what is closed next."""
    ended.set()
    await task
