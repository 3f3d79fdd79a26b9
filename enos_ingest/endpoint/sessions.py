"""All device sessions: one for each device, a newer one in place of an older one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from enos_ingest.clock import epoch_ms
from enos_ingest.devices.activation import activate, activation_fault
from enos_ingest.devices.directory import Directory
from enos_ingest.devices.presence import Presence
from enos_ingest.endpoint.activation import ActivationSession
from enos_ingest.endpoint.authentication import Authenticator, Client
from enos_ingest.endpoint.connection import Connection
from enos_ingest.endpoint.limits import ConnectionCounters, ConnectionKind
from enos_ingest.endpoint.mirror import Mirror
from enos_ingest.endpoint.packets import ConnackCode, Connect, encode_connack
from enos_ingest.endpoint.session import DeviceSession
from enos_ingest.endpoint.subscriptions import HIGHEST_QOS
from enos_ingest.intake import Intake
from enos_ingest.logs import get_logger
from enos_ingest.protocol.codes import Code
from enos_ingest.protocol.identity import Channel, DeviceId
from enos_ingest.protocol.notices import Action, activation_info, to_device, to_gateway
from enos_ingest.settings import LimitsSettings

__all__ = ["Sessions"]

log = get_logger(__name__)

_SUBSCRIBE_SECONDS = 10.0
"""How long a client that subscribes to commands is given for that: the C SDK sends 28 SUBSCRIBE packets, 100 ms apart,
and drops a command that comes before its own. Afterwards it is sent commands as all others are."""


_ENDS: dict[Action | None, str] = {"disable": "disabled", "delete": "deleted"}
"""How a session ends whose device was switched, in the words of `CLOSED_REASONS`."""


class Sessions:
    """Opens and ends device sessions, keeps presence in step with them, and is the way of commands to devices.

    It also tells devices what concerns them in the registry: their secret, and that they are disabled or deleted.

    A device holds one session: the newest [MQTT-3.1.4-2]. Of an integration channel there may be any number, one for
    each client id.

    Attributes:
        on_reachable: told of a device that commands may reach from now on, or on more topics than before.

    Args:
        next_id: makes the ids of messages to devices, of decimal digits.
        settle_seconds: how long a device that has come online is not yet ready for what has waited for it.
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
        next_id: Callable[[], str],
        settle_seconds: float,
    ) -> None:
        self.directory = directory
        self.intake = intake
        self.mirror = mirror
        self.counters = counters
        self.limits = limits
        self.draining = False
        self.behind_bytes = 0
        self.on_reachable: Callable[[DeviceId], None] = _tell_nobody
        self._authenticator = authenticator
        self._presence = presence
        self._next_id = next_id
        self._settle_seconds = settle_seconds
        self._sessions: dict[DeviceId | tuple[Channel, str], DeviceSession] = {}
        self._activating: dict[DeviceId, ActivationSession] = {}
        self._seen = directory()
        """The registry that its devices were told of last."""
        presence.on_online = self._came_online

    def __len__(self) -> int:
        return len(self._sessions) + len(self._activating)

    def open(self, client: Client, connect: Connect, connection: Connection) -> None:
        """Let a client in that has just been authenticated; an older session of its ends."""
        identity = client.identity
        if isinstance(identity, DeviceId):
            activating = self._activating.get(identity)
            if activating is not None:
                activating.close("taken_over")
        if client.activates and isinstance(identity, DeviceId):
            self._activate(identity, client, connect, connection)
            return
        proof = self._authenticator.proof(identity)
        assert proof is not None, identity
        key = identity if isinstance(identity, DeviceId) else (identity, connect.client_id)
        older = self._sessions.get(key)
        if older is not None:
            older.close("taken_over")
        if connect.will_topic is not None:
            log.info("will dropped, devices have none here", client=str(identity))
        # Of the SDKs only the one in C asks for a stored session, and it alone subscribes to commands.
        subscribes, compression = not connect.clean_session, client.compression
        session = DeviceSession(identity, key, proof, connection, self, subscribes=subscribes, compression=compression)
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

    def admits(self, session: DeviceSession) -> bool:
        """Whether the registry would let the client of a session in now as it came."""
        proved = self._authenticator.proof(session.identity) == session.proof
        return proved and self.may_connect(session.identity, is_tls=session.is_tls)

    def activation_fault(self, device: DeviceId) -> tuple[Code, str] | None:
        """Why a device may not be told its secret; None where it may."""
        directory = self.directory()
        return activation_fault(directory.devices[device], directory, self._presence)

    def is_reachable(self, device: DeviceId, topic: str) -> bool:
        """Whether a command on this topic would find its way now."""
        return self._way(device, topic) is not None

    def is_ready(self, device: DeviceId, topic: str) -> bool:
        """Whether it would, and the device has had the time to say who takes it."""
        session = self._way(device, topic)
        return session is not None and session.delivery.is_ready(device, topic)

    def send_command(self, device: DeviceId, topic: str, payload: bytes) -> bool:
        """Send one copy of a command, also where nobody has subscribed to it; False where there is no way."""
        session = self._way(device, topic)
        if session is None:
            return False
        if self.mirror.watched:
            self.mirror.show(topic, payload)
        session.delivery.send(topic, payload, HIGHEST_QOS)
        return True

    def subscribed(self, session: DeviceSession) -> None:
        """Let commands go that have waited for a subscription, or for the end of an UNSUBSCRIBE."""
        if isinstance(session.identity, DeviceId):
            for device in (session.identity, *self._presence.sub_devices(session.identity)):
                self.on_reachable(device)

    def left(self, session: DeviceSession, reason: str) -> None:
        """Forget a session that has ended; a device's sub-devices go offline with it."""
        del self._sessions[session.key]
        if isinstance(session.identity, DeviceId):
            for sub_device in sorted(self._presence.disconnect(session.identity, reason)):
                _say_offline(sub_device, session.identity)
            if self._presence.gateway_of(session.identity) is not None:
                self.on_reachable(session.identity)  # its own connection came first, and may not have heard

    def heard_late(self, session: DeviceSession) -> None:
        """Take offline whom a gateway's last message has logged in, which a codec had for longer than it lasted."""
        gateway = session.identity
        if isinstance(gateway, DeviceId) and gateway not in self._sessions:
            for sub_device in sorted(self._presence.sub_devices(gateway)):
                self._presence.logout(gateway, sub_device, "gateway")
                _say_offline(sub_device, gateway)

    def activation_over(self, session: ActivationSession) -> None:
        """Forget a session of a device that was told its secret."""
        del self._activating[session.device]

    def close_invalid(self) -> None:
        """End the sessions of those whom the registry does not let in any more as they came.

        Devices that were enabled, disabled or deleted are told before, and the gateways that they belong to.
        """
        seen, self._seen = self._seen, self.directory()
        switched = dict(_switched(seen, self._seen))
        for device, action in switched.items():
            self._tell(device, action, seen.gateways(device) | self._seen.gateways(device))
        for session in list(self._sessions.values()):
            if not self.admits(session):
                done = switched.get(session.identity) if isinstance(session.identity, DeviceId) else None
                session.close(_ENDS.get(done, "registry"))
        for device, activating in list(self._activating.items()):
            if self._authenticator.proof(device) is None or not self.may_connect(device, is_tls=activating.is_tls):
                activating.close("registry")

    def close(self) -> None:
        """End all sessions."""
        for session in list(self._sessions.values()):
            session.close("stopped")
        for activating in list(self._activating.values()):
            activating.close("stopped")

    def _activate(self, device: DeviceId, client: Client, connect: Connect, connection: Connection) -> None:
        """Take a device in that is to be told its secret, which is told once that is on disk."""
        older = self._sessions.get(device)
        if older is not None:
            older.close("taken_over")
        session = self._activating[device] = ActivationSession(device, connection, self, client.compression)
        connection.send(encode_connack(ConnackCode.ACCEPTED))
        connection.serve(session, connect.keep_alive)
        self.counters.connected("device")
        log.info("connected to be activated", client=str(device), peer=connection.address)
        known, now = self.directory().devices[device], epoch_ms()
        change = activate(known, now)
        payload = activation_info(self._next_id(), device, known.asset_id, change.secret)
        self._presence.is_first_login(device)
        self.intake.activate(device, now, (change,), functools.partial(session.stored, payload))

    def _tell(self, device: DeviceId, action: Action, gateways: frozenset[DeviceId]) -> None:
        """Tell a device that is connected what was done with it, and its gateways that are."""
        own = self._sessions.get(device)
        if own is not None:
            own.delivery.send(*to_device(self._next_id(), action, device), HIGHEST_QOS)
        for gateway in sorted(gateways):
            session = self._sessions.get(gateway)
            if session is not None:
                session.delivery.send(*to_gateway(self._next_id(), action, gateway, device), HIGHEST_QOS)

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
        return session if session is not None and session.delivery.hears(device, topic) else None

    def _came_online(self, device: DeviceId) -> None:
        """Say that commands may go, once the client has had the time to subscribe to them, or to say who takes them."""
        session = self._session_of(device)
        seconds = _SUBSCRIBE_SECONDS if session is not None and session.delivery.subscribes else self._settle_seconds
        if session is not None and seconds:
            session.delivery.give_time(device, seconds, self.on_reachable)
        else:
            self.on_reachable(device)

    def _enter(self, device: DeviceId) -> None:
        self._presence.connect(device)
        known = self.directory().devices.get(device)
        if known is not None and known.activated is None and self._presence.is_first_login(device):
            self.intake.activate(device, epoch_ms())


def _switched(old: Directory, new: Directory) -> Iterator[tuple[DeviceId, Action]]:
    """The devices that were enabled, disabled or deleted between two registries."""
    for device, row in old.devices.items():
        now = new.devices.get(device)
        if now is None:
            yield device, "delete"
        elif now.enabled != row.enabled:
            yield device, "enable" if now.enabled else "disable"


def _say_offline(sub_device: DeviceId, gateway: DeviceId) -> None:
    log.info("offline with its gateway", device=str(sub_device), gateway=str(gateway))


def _tell_nobody(_: DeviceId) -> None:
    """Where nobody asked to be told."""
