"""All device sessions: one for each device, a newer one in place of an older one."""

from __future__ import annotations

import time
from collections.abc import Callable

from enos_ingest.devices.directory import Directory
from enos_ingest.devices.presence import Presence
from enos_ingest.endpoint.authentication import Authenticator
from enos_ingest.endpoint.connection import Connection
from enos_ingest.endpoint.limits import ConnectionCounters, ConnectionKind, ConnectionLimits
from enos_ingest.endpoint.mirror import Mirror
from enos_ingest.endpoint.packets import ConnackCode, Connect, encode_connack
from enos_ingest.endpoint.session import DeviceSession
from enos_ingest.intake import Intake
from enos_ingest.logs import get_logger
from enos_ingest.protocol.identity import Channel, DeviceId

__all__ = ["Sessions"]

log = get_logger(__name__)


class Sessions:
    """Opens and ends device sessions, and keeps presence in step with them.

    A device holds one session: the newest [MQTT-3.1.4-2]. Of an integration channel there may be any number, one for
    each client id.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        directory: Callable[[], Directory],
        presence: Presence,
        intake: Intake,
        mirror: Mirror,
        counters: ConnectionCounters,
        limits: ConnectionLimits,
    ) -> None:
        self.directory = directory
        self.intake = intake
        self.mirror = mirror
        self.counters = counters
        self.limits = limits
        self.draining = False
        self._authenticator = authenticator
        self._presence = presence
        self._sessions: dict[DeviceId | tuple[Channel, str], DeviceSession] = {}

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
        session = DeviceSession(identity, key, proof, connection, self)
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

    def _enter(self, device: DeviceId) -> None:
        self._presence.connect(device)
        known = self.directory().devices.get(device)
        if known is not None and known.activated is None and self._presence.is_first_login(device):
            self.intake.activate(device, time.time_ns() // 1_000_000)
