"""All device sessions: one for each device, a newer one in place of an older one."""

from __future__ import annotations

import time
from collections.abc import Callable

from enos_ingest.devices.directory import Directory
from enos_ingest.devices.presence import Presence
from enos_ingest.endpoint.authentication import Authenticator
from enos_ingest.endpoint.connection import Connection
from enos_ingest.endpoint.limits import ConnectionCounters, ConnectionKind
from enos_ingest.endpoint.mirror import Mirror
from enos_ingest.endpoint.packets import ConnackCode, Connect, encode_connack
from enos_ingest.endpoint.session import DeviceSession
from enos_ingest.endpoint.subscriptions import HIGHEST_QOS
from enos_ingest.intake import Intake
from enos_ingest.logs import get_logger
from enos_ingest.protocol.identity import Channel, DeviceId
from enos_ingest.settings import LimitsSettings

__all__ = ["Sessions"]

log = get_logger(__name__)

_SUBSCRIBE_SECONDS = 10.0
"""How long a client that subscribes to commands is given for that: the C SDK sends 28 SUBSCRIBE packets, 100 ms apart,
and drops a command that comes before its own. Afterwards it is sent commands as all others are."""


class Sessions:
    """Opens and ends device sessions, keeps presence in step with them, and is the way of commands to devices.

    A device holds one session: the newest [MQTT-3.1.4-2]. Of an integration channel there may be any number, one for
    each client id.

    Attributes:
        on_reachable: told of a device that commands may reach from now on, or on more topics than before.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        directory: Callable[[], Directory],
        presence: Presence,
        intake: Intake,
        mirror: Mirror,
        counters: ConnectionCounters,
        limits: LimitsSettings,
    ) -> None:
        self.directory = directory
        self.intake = intake
        self.mirror = mirror
        self.counters = counters
        self.limits = limits
        self.draining = False
        self.on_reachable: Callable[[DeviceId], None] = _tell_nobody
        self._authenticator = authenticator
        self._presence = presence
        self._sessions: dict[DeviceId | tuple[Channel, str], DeviceSession] = {}
        presence.on_online = self._came_online

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, identity: DeviceId | Channel, connect: Connect, connection: Connection) -> None:
        """Let a client in that has just been authenticated; an older session of its ends."""
        proof = self._authenticator.proof(identity)
        assert proof is not None, identity
        key = identity if isinstance(identity, DeviceId) else (identity, connect.client_id)
        older = self._sessions.get(key)
        if older is not None:
            older.close("taken_over")
        if connect.will_topic is not None:
            log.info("will dropped, devices have none here", client=str(identity))
        # Of the SDKs only the one in C asks for a stored session, and it alone subscribes to commands.
        session = DeviceSession(identity, key, proof, connection, self, subscribes=not connect.clean_session)
        self._sessions[key] = session
        # Always without a stored session: nothing outlives a connection, whatever clean_session asks for.
        connection.send(encode_connack(ConnackCode.ACCEPTED))
        connection.serve(session, connect.keep_alive)
        kind: ConnectionKind = "device" if isinstance(identity, DeviceId) else "channel"
        self.counters.connected(kind)
        log.info("connected", kind=kind, client=str(identity), peer=connection.address)
        if isinstance(identity, DeviceId):
            self._enter(identity)

    def may_connect(self, identity: DeviceId | Channel, *, is_tls: bool) -> bool:
        """Whether a client may use a connection of this kind."""
        product = self.directory().products.get(identity.product_key)
        return is_tls or product is None or not product.require_tls

    def is_reachable(self, device: DeviceId, topic: str) -> bool:
        """Whether a command on this topic would find its way now."""
        return self._way(device, topic) is not None

    def send_command(self, device: DeviceId, topic: str, payload: bytes) -> bool:
        """Send one copy of a command, also where nobody has subscribed to it; False where there is no way."""
        session = self._way(device, topic)
        if session is None:
            return False
        if self.mirror.watched:
            self.mirror.show(topic, payload)
        session.send(topic, payload, HIGHEST_QOS)
        return True

    def subscribed(self, session: DeviceSession) -> None:
        """Let commands go that have waited for a subscription, or for the end of an UNSUBSCRIBE."""
        if isinstance(session.identity, DeviceId):
            for device in (session.identity, *self._presence.sub_devices(session.identity)):
                self.on_reachable(device)

    def left(self, session: DeviceSession) -> None:
        """Forget a session that has ended; a device's sub-devices go offline with it."""
        del self._sessions[session.key]
        if isinstance(session.identity, DeviceId):
            for sub_device in sorted(self._presence.disconnect(session.identity)):
                log.info("offline with its gateway", device=str(sub_device), gateway=str(session.identity))

    def close_invalid(self) -> None:
        """End the sessions of those whom the registry does not let in any more as they came."""
        for session in list(self._sessions.values()):
            proved = self._authenticator.proof(session.identity) == session.proof
            if not proved or not self.may_connect(session.identity, is_tls=session.is_tls):
                session.close("registry")

    def close(self) -> None:
        """End all sessions."""
        for session in list(self._sessions.values()):
            session.close("stopped")

    def _session_of(self, device: DeviceId) -> DeviceSession | None:
        """The device's own session, else that of the gateway through which it is online."""
        session = self._sessions.get(device)
        if session is None:
            gateway = self._presence.gateway_of(device)
            session = None if gateway is None else self._sessions.get(gateway)
        return session

    def _way(self, device: DeviceId, topic: str) -> DeviceSession | None:
        """The session of a device, where it hears what is said on a topic."""
        session = self._session_of(device)
        return session if session is not None and session.hears(device, topic) else None

    def _came_online(self, device: DeviceId) -> None:
        """Say that commands may go, at once or once a client that subscribes has had the time to."""
        session = self._session_of(device)
        if session is not None and session.subscribes:
            session.give_time(device, _SUBSCRIBE_SECONDS, self.on_reachable)
        else:
            self.on_reachable(device)

    def _enter(self, device: DeviceId) -> None:
        self._presence.connect(device)
        known = self.directory().devices.get(device)
        if known is not None and known.activated is None and self._presence.is_first_login(device):
            self.intake.activate(device, time.time_ns() // 1_000_000)


def _tell_nobody(_: DeviceId) -> None:
    """Where nobody asked to be told."""
