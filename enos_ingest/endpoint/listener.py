"""The one listener for MQTT: accepts, finds out who it is, and hands devices and operators to those who serve them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from enos_ingest.devices.access import may_publish
from enos_ingest.endpoint.admission import Admission
from enos_ingest.endpoint.authentication import Authenticator, Client, Refused
from enos_ingest.endpoint.connection import Connection
from enos_ingest.endpoint.handshakes import Handshakes, TooManyHandshakesError
from enos_ingest.endpoint.incoming import Incoming
from enos_ingest.endpoint.limits import ConnectionCounters
from enos_ingest.endpoint.outgoing import Outgoing
from enos_ingest.endpoint.packets import (
    ConnackCode,
    Connect,
    MalformedPacketError,
    UnsupportedVersionError,
    encode_connack,
)
from enos_ingest.endpoint.relays import Relays
from enos_ingest.endpoint.sessions import Sessions
from enos_ingest.endpoint.tls import ServerCertificate, common_names, in_words
from enos_ingest.intake import Intake
from enos_ingest.logs import FewLines, get_logger
from enos_ingest.protocol.identity import Channel, DeviceId, Hub, Operator
from enos_ingest.settings import LimitsSettings
from enos_ingest.sockets import Bind, bind_socket, cannot_listen

__all__ = ["MqttListener"]

log = get_logger(__name__)

_BACKLOG = 1024
"""Connections that wait to be accepted: a fleet comes back all at once after a power cut."""

_INSIDE = 8
"""Connections to the hub's own way in, which any program of the machine can find: one of them is the subscriber's."""

_TURNED_AWAY = 100
"""How many connections that there is no room for may take a moment to read that; more find out by themselves."""

_END_SECONDS = 6.0
"""How long connections may take to end at a stop: somewhat longer than they take to be cut off."""


class MqttListener:
    """Accepts MQTT connections and authenticates them.

    Nobody else learns of a connection before it has been authenticated; a refused one leaves no trace.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        sessions: Sessions,
        relays: Relays,
        intake: Intake,
        counters: ConnectionCounters,
        limits: LimitsSettings,
    ) -> None:
        self.sessions = sessions
        self.relays = relays
        self._authenticator = authenticator
        self._intake = intake
        self._counters = counters
        self._limits = limits
        self.incoming = Incoming(limits.incoming_bytes_total)
        self.outgoing = Outgoing(limits.outgoing_bytes_total)
        self._handshakes = Handshakes(limits.tls_handshakes)
        self._admission = Admission(limits)
        self._servers: list[asyncio.Server] = []
        self._inside: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._turned_away: set[Connection] = set()
        """Those that there was no room for, until they have read why."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._lines = FewLines()
        self._loop = asyncio.get_running_loop()

    async def listen(
        self, bind: Bind, setting: str = "", *, inside: bool = False, certificate: ServerCertificate | None = None
    ) -> Bind:
        """Serve an address, and return it with the port that port 0 became.

        Args:
            inside: whether it is the way in for the hub's own subscriber, and for nobody else.
            certificate: what to serve TLS with.

        Raises:
            StartError: the port is taken, or the address is not this machine's.
        """
        bound = bind_socket(bind, setting)
        try:
            # Two programs can both bind a port; the second to listen is told. uvloop would lose that error.
            bound.listen(_BACKLOG)
        except OSError as error:
            bound.close()
            raise cannot_listen(bind, error, setting) from error

        def accept() -> asyncio.BaseProtocol:
            connection = Connection(self, self._limits, inside=inside, is_tls=certificate is not None)
            return connection if certificate is None else certificate.secure(connection, self._handshakes)

        server = await self._loop.create_server(accept, sock=bound, backlog=_BACKLOG)
        (self._inside if inside else self._servers).append(server)
        return Bind(bind.host, bound.getsockname()[1])

    @property
    def connections(self) -> int:
        """How many clients are connected, the hub's own subscriber aside."""
        return len(self.sessions) + len(self.relays)

    @property
    def accepted(self) -> int:
        """How many sockets are open, those of strangers included and the hub's own aside."""
        return self._admission.connections

    # What connections call.

    def arrived(self, connection: Connection) -> bool:
        """Whether there is room for a new connection; if not it is refused, without being read."""
        if connection.inside:
            if sum(other.inside for other in self._connections) >= _INSIDE:
                connection.abort("refused")
                return False
        else:
            reason = self._admission.admit(connection.address, self._loop.time())
            if reason is not None:
                words = f"too many connections ({reason})"
                linger = len(self._turned_away) < _TURNED_AWAY
                if linger:
                    self._turned_away.add(connection)
                self._refuse(connection, ConnackCode.SERVER_UNAVAILABLE, reason, words, linger=linger)
                return False
        self._connections.add(connection)
        self._empty.clear()
        return True

    def connect(self, connection: Connection, packet: Connect) -> None:
        """Let a client in, or refuse it."""
        try:
            client = self._publisher(connection, packet)
        except Refused as refused:
            self._refuse(connection, refused.code, refused.code.name.lower(), refused.reason)
            return
        if client is None:
            connection.pause()
            task = self._loop.create_task(self._operator(connection, packet))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self.sessions.open(client, packet, connection)

    def malformed(self, connection: Connection, error: MalformedPacketError) -> None:
        """Close a connection whose first packet is no CONNECT, which is not answered [MQTT-3.1.0-1]."""
        if isinstance(error, UnsupportedVersionError):
            self._refuse(connection, ConnackCode.UNACCEPTABLE_VERSION, "version", str(error))
        else:
            self._refuse(connection, None, "malformed", str(error))

    def held_too_much(self, connection: Connection, detail: str) -> None:
        """Cut off a connection that has sent no whole CONNECT."""
        self._refuse(connection, None, "memory", detail)
        connection.abort("refused")

    def waits_for_room(self) -> None:
        """Count a stop in reading."""
        self._counters.reading_paused("memory")

    def no_handshake(self, connection: Connection, error: ssl.SSLError) -> None:
        """Count a connection whose TLS handshake failed."""
        if isinstance(error, TooManyHandshakesError):
            self._refuse(connection, None, "handshakes", str(error))
        else:
            self._refuse(connection, None, "tls", f"TLS: {in_words(error)}")

    def departed(self, connection: Connection) -> None:
        """Forget a connection whose socket is gone."""
        if connection not in self._connections:
            self._turned_away.discard(connection)
            return
        self._connections.remove(connection)
        if not self._connections:
            self._empty.set()
        if not connection.inside:
            self._admission.leave(connection.address)

    # What the service calls.

    def close_invalid(self) -> None:
        """Close the connections of those whom the registry does not let in any more as they came."""
        self.sessions.close_invalid()
        self.relays.close_invalid()

    def stop_accepting(self) -> None:
        """Take no new connection, and no further message from those that are there."""
        for server in self._servers:
            server.close()
        self.sessions.draining = True
        self.relays.drain()

    async def close(self) -> None:
        """End all connections."""
        self.stop_accepting()
        for server in self._inside:
            server.close()
        self.sessions.close()
        self.relays.close()
        for connection in list(self._connections):
            connection.close("stopped")
        for connection in list(self._turned_away):
            connection.abort("stopped")
        # What was written leaves before the event loop ends; a client that does not read it is cut off by then.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await self._empty.wait()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_END_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _publisher(self, connection: Connection, packet: Connect) -> Client | None:
        """The device or channel that connects; None where an operator does, or the hub itself."""
        if not packet.client_id and not packet.clean_session:
            raise Refused(ConnackCode.IDENTIFIER_REJECTED, "no client id, and not a clean session [MQTT-3.1.3-8]")
        client = None if connection.inside else self._authenticator.publisher(packet)
        if client is None:
            return None
        self._check_store()
        if not self.sessions.may_connect(client.identity, is_tls=connection.is_tls):
            raise Refused(ConnackCode.NOT_AUTHORIZED, f"{client.identity} must connect with TLS")
        self._check_certificate(connection, client.identity)
        if client.activates and isinstance(client.identity, DeviceId):
            fault = self.sessions.activation_fault(client.identity)
            if fault is not None:
                raise Refused(ConnackCode.NOT_AUTHORIZED, f"{fault[1]} ({int(fault[0])})")
        return client

    def _check_certificate(self, connection: Connection, identity: DeviceId | Channel) -> None:
        """See that a certificate, where one was shown, is that of the device or channel that connects."""
        shown = connection.certificate
        if shown is None:
            return
        if isinstance(identity, DeviceId):
            names = {identity.device_key, f"{identity.product_key}.{identity.device_key}"}
        else:
            names = {identity.product_key}
        given = common_names(shown)
        if names.isdisjoint(given):
            what = f"the certificate of {', '.join(given)[:100] or 'nobody'} is not for {identity} (745)"
            raise Refused(ConnackCode.NOT_AUTHORIZED, what)

    async def _known_operator(self, connection: Connection, packet: Connect) -> tuple[Operator | Hub, str]:
        """The operator that connects, or the hub itself, with what proved it."""
        if connection.inside:
            return self._authenticator.hub(packet), ""
        identity = await self._authenticator.operator(packet)
        self._check_store()
        will = packet.will_topic
        if will is not None and not may_publish(identity, will, self.relays.directory()):
            raise Refused(ConnackCode.NOT_AUTHORIZED, f"will on {will[:100]} is not allowed")
        proof = self._authenticator.proof(identity)
        if proof is None:
            raise Refused(ConnackCode.NOT_AUTHORIZED, f"{identity} was changed meanwhile")
        return identity, proof

    async def _operator(self, connection: Connection, packet: Connect) -> None:
        """Check a password, then relay; the end of this task is the end of the connection."""
        try:
            identity, proof = await self._known_operator(connection, packet)
        except Refused as refused:
            if not connection.is_closing:
                self._refuse(connection, refused.code, refused.code.name.lower(), refused.reason)
            return
        if connection.is_closing:
            return
        reader, writer = connection.detach()
        try:
            traffic = self.incoming, self.outgoing
            await self.relays.serve(packet, identity, proof, reader, writer, connection.peer, traffic)
        except OSError as error:
            log.debug("connection lost", error=str(error))
        except Exception:  # whatever it is, amqtt's faults included, it ends this connection and no other
            log.exception("a connection failed")
        finally:
            connection.finish()

    def _check_store(self) -> None:
        if self._intake.store_fails:
            raise Refused(ConnackCode.SERVER_UNAVAILABLE, "the store cannot commit")
        if self.sessions.draining:
            raise Refused(ConnackCode.SERVER_UNAVAILABLE, "the hub is draining")

    def _refuse(
        self, connection: Connection, code: ConnackCode | None, kind: str, reason: str, *, linger: bool = True
    ) -> None:
        self._counters.refused(kind)
        unsaid = self._lines.next()
        if unsaid is not None:
            connack = None if code is None else int(code)
            more = {"more": unsaid} if unsaid else {}
            log.warning("connection refused", peer=connection.address, connack=connack, reason=reason, **more)
        if code is not None:
            connection.send(encode_connack(code))
        connection.close("refused", linger=linger)
