"""All that speaks MQTT: the embedded broker, the listener in front of it, the hub's own client behind it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

from enos_ingest.broker import EmbeddedBroker
from enos_ingest.devices.directory import Directory
from enos_ingest.devices.presence import Presence
from enos_ingest.endpoint.authentication import Authenticator
from enos_ingest.endpoint.listener import MqttListener
from enos_ingest.endpoint.mirror import Mirror
from enos_ingest.endpoint.relays import Relays
from enos_ingest.endpoint.sessions import Sessions
from enos_ingest.http.metrics import Metrics
from enos_ingest.intake import Intake
from enos_ingest.settings import Settings
from enos_ingest.sockets import Bind
from enos_ingest.subscriber import Subscriber
from enos_ingest.wiring.certificate import HubCertificate

__all__ = ["MqttSide"]


class MqttSide:
    """Where devices and MQTT tools connect: `start`, and `listen` once all else is up.

    Args:
        next_id: makes the ids of messages to devices.

    Attributes:
        address: where MQTT is served, with the port that port 0 became; set by `listen`.
        tls_address: the same over TLS, None for nowhere.
    """

    address: Bind
    subscriber: Subscriber

    def __init__(
        self,
        settings: Settings,
        directory: Callable[[], Directory],
        presence: Presence,
        intake: Intake,
        metrics: Metrics,
        next_id: Callable[[], str],
        certificate: HubCertificate,
    ) -> None:
        limits = settings.limits
        self.tls_address: Bind | None = None
        self._settings = settings.mqtt
        self._intake = intake
        self._certificate = certificate
        self.broker = EmbeddedBroker(directory, unacknowledged=limits.unacknowledged)
        self._authenticator = authenticator = Authenticator(directory, anonymous=settings.security.anonymous)
        mirror = Mirror(metrics.mirror_dropped)
        settle = settings.commands.settle_seconds
        self.sessions = Sessions(authenticator, directory, presence, intake, mirror, metrics, limits, next_id, settle)
        self._relays = Relays(self.broker, authenticator, directory, intake, mirror, metrics, limits)
        self.listener = MqttListener(authenticator, self.sessions, self._relays, intake, metrics, limits)

    async def start(self, parts: AsyncExitStack) -> None:
        """The embedded broker, and its subscriber on a loopback port of its own, before anyone else can connect."""
        await self.broker.start()
        parts.push_async_callback(self.broker.shutdown)
        parts.push_async_callback(self.listener.close)
        inside = await self.listener.listen(Bind("127.0.0.1", 0), inside=True)
        self.subscriber = subscriber = Subscriber(
            self._intake, inside.host, inside.port, self._authenticator.hub_credentials
        )
        self._relays.arrived = lambda: subscriber.received
        parts.push_async_callback(subscriber.close)
        await subscriber.start()

    async def listen(self) -> None:
        """Serve clients, last of all."""
        mqtt = self._settings
        if mqtt.tls_bind is not None:
            certificate = self._certificate.load()
            self.tls_address = await self.listener.listen(mqtt.tls_bind, "mqtt.tls_bind", certificate=certificate)
        self.address = await self.listener.listen(mqtt.bind, "mqtt.bind")

    @property
    def is_idle(self) -> bool:
        """Whether all that was read from operators has passed the broker, and all answers to it have."""
        hub = self._relays.hub
        return (
            self._relays.is_idle
            and self.broker.is_idle
            and (hub is None or (hub.offered == self.subscriber.received and hub.published == self.subscriber.replied))
        )
