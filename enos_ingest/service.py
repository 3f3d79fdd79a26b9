"""The one place that knows all parts: builds them, starts them in order, drains them in reverse."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from enos_ingest import __version__
from enos_ingest.codecs.codecs import Codecs
from enos_ingest.devices.directory import Directory
from enos_ingest.devices.presence import Presence
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
from enos_ingest.passthrough import Passthrough
from enos_ingest.pipeline import Pipeline
from enos_ingest.registry import LiveRegistry
from enos_ingest.settings import Settings
from enos_ingest.sockets import Bind
from enos_ingest.storage.sqlite import parse_url
from enos_ingest.storage.store import Writer
from enos_ingest.storage.writer import SqliteWriter
from enos_ingest.wiring.certificate import HubCertificate
from enos_ingest.wiring.commands import CommandSide
from enos_ingest.wiring.events import KeptEvents
from enos_ingest.wiring.mqtt import MqttSide
from enos_ingest.wiring.periodic import repeat
from enos_ingest.wiring.presence import PresenceHistory
from enos_ingest.wiring.registry import WatchedRegistry

__all__ = ["Service"]

log = get_logger(__name__)

_REGISTRY_SECONDS = 0.5
"""How often a running service looks for a changed registry; it promises to see one within a second."""
_MODELS_SECONDS = 1.0
_PURGE_SECONDS = 60.0
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
        self._certificate = HubCertificate(settings)
        self._events = KeptEvents(self.database, settings.limits)
        self._state = "new"
        self.lost = asyncio.Event()
        """Set once the store has ended by itself: nothing is answered any more, the service should be stopped."""

    @property
    def mqtt_address(self) -> Bind:
        """Where MQTT is served, with the port that port 0 became."""
        return self._mqtt.address

    @property
    def tls_address(self) -> Bind | None:
        """Where MQTT is served over TLS, None for nowhere."""
        return self._mqtt.tls_address

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
        log.info("draining", connections=self._mqtt.listener.connections, in_flight=self._intake.in_flight)
        # First those who wait for devices are told, as what devices publish from now on is dropped.
        await self._commands.dispatcher.close()
        self._mqtt.listener.stop_accepting()
        try:
            async with asyncio.timeout(self.settings.limits.drain_seconds):
                while not self._is_idle() and not self.lost.is_set():
                    await asyncio.sleep(_IDLE_SECONDS)
        except TimeoutError:
            log.error("not everything that was read could be committed and answered in time", reasons=self._reasons())
        await self._parts.aclose()
        log.info("stopped")

    async def _start_parts(self) -> None:
        limits = self.settings.limits
        self._metrics = Metrics()
        self._catalogue = await asyncio.to_thread(self._load_models)
        self._writer = self._open_writer(
            self.database,
            quarantine_rows=limits.quarantine_rows,
            quarantine_bytes=limits.quarantine_bytes,
            on_state=self._store_state,
            on_lost=self.lost.set,
        )
        self._parts.push_async_callback(self._writer.close)
        self._live = LiveRegistry(self._writer)
        self._presence = Presence()
        history = PresenceHistory(self._writer)
        self._presence.on_change = history.keep
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
        registry = WatchedRegistry(self.database, self._live, self._parts)
        await registry.load(self.settings.registry_file(), {model.model.model_id for model in self._catalogue.models()})
        self._warn_of_products()
        await history.end(self.database)
        await self._start_mqtt()
        self._start_codecs()
        self._start_commands()
        self._metrics.watch(
            Readings(
                connections=lambda: self._mqtt.listener.connections,
                devices_online=lambda: self._presence.online,
                in_flight=lambda: self._intake.in_flight,
                certificate_expires=lambda: self._certificate.expires,
                incoming_bytes=lambda: self._mqtt.listener.incoming.held,
                outgoing_bytes=lambda: self._mqtt.listener.outgoing.unread,
                writer_stats=self._writer.stats,
                commands_waiting=lambda: self._commands.dispatcher.waiting,
                commands_cached=lambda: self._commands.dispatcher.cached,
                commands_kept=lambda: self._commands.kept,
                events_deleted=lambda: self._events.deleted,
            )
        )
        await self._start_http()

        registry.on_change = self._registry_changed
        repeat("watch the registry", registry.watch, _REGISTRY_SECONDS, self._parts)
        repeat("watch the models", self._watch_models, _MODELS_SECONDS, self._parts)
        repeat("purge commands", self._commands.purge, _PURGE_SECONDS, self._parts)
        repeat("purge events", self._events.purge, _PURGE_SECONDS, self._parts)
        self._parts.callback(self._events.stop)  # before its end is waited for

        await self._mqtt.listen()

    async def _start_mqtt(self) -> None:
        self._mqtt = MqttSide(
            self.settings, self.directory, self._presence, self._intake, self._metrics, self._next_id, self._certificate
        )
        await self._mqtt.start(self._parts)

    def _start_codecs(self) -> None:
        """Formats of products' own, for uplinks as for commands."""
        limits = self.settings.limits
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

    def _start_commands(self) -> None:
        self._commands = CommandSide(
            self.settings,
            self.database,
            self._writer,
            self._mqtt.sessions,
            self._metrics,
            self.directory,
            self._catalogue.get,
            self._codecs,
            has_logged_in=self._presence.has_logged_in,
            parts=self._parts,
        )
        self._mqtt.sessions.on_reachable = self._commands.dispatcher.came_online
        self._intake.answered = self._commands.dispatcher.answered

    def reload_certificate(self) -> None:
        """Read the certificate and its key again; new connections are served with them."""
        self._certificate.reload()

    async def _start_http(self) -> None:
        bind, limits, anonymous = self.settings.http.bind, self.settings.limits, self.settings.security.anonymous
        tokens = Tokens(self.directory, signed_calls=limits.signed_calls)
        logins = Logins(limits.calls_per_second, limits.http_strangers_per_second, refused=self._metrics.http_refused)
        parts = HttpParts(
            self._metrics,
            self._reasons,
            Callers(self.directory, tokens, logins, anonymous=anonymous, body_bytes=limits.http_body_bytes),
            TokenService(self.directory, tokens, logins),
            self._commands.calls,
            open_metrics=bind.is_loopback or anonymous,
        )
        listener = HttpListener(
            create_app(parts),
            bind,
            connections=limits.http_connections,
            connections_per_address=limits.http_connections_per_address,
            requests=limits.http_requests,
            refused=self._metrics.http_refused,
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
        return self._commands.ids.next()

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

    def _warn_of_products(self) -> None:
        """Say what products need that is not there."""
        for product in self._live.directory.products.values():
            if product.model and self._catalogue.get(product.model) is None:
                log.warning("thing model of a product is not loaded", product=product.key, model=product.model)
            if product.require_tls and self.settings.mqtt.tls_bind is None:
                log.warning("devices of a product must use TLS, and mqtt.tls_bind is not set", product=product.key)

    def _registry_changed(self, directory: Directory) -> None:
        """End what the registry does not allow any more."""
        self._mqtt.listener.close_invalid()
        for device in self._presence.forget_strangers(directory):
            log.info("offline, the registry changed", device=str(device))

    async def _watch_models(self) -> None:
        for event in await asyncio.to_thread(self._catalogue.refresh):
            if event.kind == "missing":
                log.warning(event.message, model=event.model_id, file=event.source)
                continue
            in_force = event.kind in ("loaded", "replaced")
            self._metrics.model_reloaded("loaded" if in_force else "refused")
            write = log.info if in_force else log.error
            write(event.message, model=event.model_id, file=event.source)

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
        if not self._mqtt.subscriber.is_ready:
            reasons.append("the subscriber is not connected to the embedded broker")
        return reasons

    def _is_idle(self) -> bool:
        """Whether everything that was read has been committed and its answer written to the connection."""
        return self._mqtt.is_idle and self._passthrough.in_flight == 0 and self._intake.in_flight == 0
