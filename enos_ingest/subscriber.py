"""A paho-mqtt client that takes uplinks from a broker into the intake and publishes the replies.

paho runs in the event loop, without a thread of its own: its socket is watched by the loop, so a message goes
from the socket into the pipeline without a hand-over.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from enos_ingest.clock import epoch_ms
from enos_ingest.errors import StartError
from enos_ingest.intake import Intake
from enos_ingest.logs import get_logger
from enos_ingest.outcome import Outcome
from enos_ingest.pipeline import Message

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike

__all__ = ["UPLINK_FILTERS", "Subscriber"]

log = get_logger(__name__)

UPLINK_FILTERS = ("/sys/#", "sys/#", "/ext/session/#", "ext/session/#")
"""Everything that devices and channels send, in both spellings of the topics."""

_KEEP_ALIVE_SECONDS = 60
_MISC_SECONDS = 1.0
"""How often paho looks at its own timers; its documentation asks for once a second."""
_RECONNECT_SECONDS = (0.1, 0.5, 2.0)
_START_SECONDS = 10.0


class Subscriber:
    """Connects to a broker as the hub and answers what devices ask there.

    It subscribes with QoS 0: within one process the connection to the embedded broker loses nothing, and amqtt
    would forget a message of QoS 1 that is not acknowledged within 5 seconds, as when the disk is full.

    Args:
        host, port: the broker.
        credentials: user name and password.
    """

    def __init__(self, intake: Intake, host: str, port: int, credentials: tuple[str, str]) -> None:
        self._intake = intake
        self._address = host, port
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.received = 0
        """How many messages have come in since it last connected."""
        self.replied = 0
        """How many replies have gone out since then."""
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id="hub",
            protocol=MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        client.username_pw_set(*credentials)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_socket_register_write
        client.on_socket_unregister_write = self._on_socket_unregister_write
        self._client = client

    @property
    def is_ready(self) -> bool:
        """Whether uplinks are being received."""
        return self._ready.is_set()

    async def start(self) -> None:
        """Connect and subscribe.

        Raises:
            StartError: the broker does not let the subscriber in.
        """
        self._spawn(self._tend(), "subscriber timers")
        try:
            self._connect()
            async with asyncio.timeout(_START_SECONDS):
                await self._ready.wait()
        except OSError as error:  # a TimeoutError is one
            raise StartError(
                f"the subscriber cannot subscribe at the embedded broker: {error or 'no answer'}"
            ) from None

    async def close(self) -> None:
        """Disconnect."""
        self._closing = True
        self._client.disconnect()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connect(self) -> None:
        self.received = self.replied = 0
        # The embedded broker is on loopback: the kernel completes this at once, although the loop, which will
        # serve the connection, is held up meanwhile.
        self._client.connect(*self._address, keepalive=_KEEP_ALIVE_SECONDS)

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(_MISC_SECONDS)
            self._client.loop_misc()

    async def _reconnect(self) -> None:
        for pause in itertools.chain(_RECONNECT_SECONDS, itertools.repeat(_RECONNECT_SECONDS[-1])):
            await asyncio.sleep(pause)
            try:
                self._connect()
            except OSError as error:
                log.warning("the subscriber cannot connect", error=str(error))
            else:
                return

    def _on_connect(self, client: Client, _: Any, __: ConnectFlags, reason: ReasonCode, ___: Properties | None) -> None:
        if reason.is_failure:
            log.error("the broker refused the subscriber", reason=str(reason))
            return
        client.subscribe([(topic_filter, 0) for topic_filter in UPLINK_FILTERS])

    def _on_subscribe(
        self, client: Client, __: Any, ___: int, reasons: list[ReasonCode], ____: Properties | None
    ) -> None:
        refused = [reason for reason in reasons if reason.is_failure]
        if refused:
            log.error("the broker refused the subscriber's subscriptions", reasons=[str(item) for item in refused])
            client.disconnect()  # to try again
            return
        self._ready.set()

    def _on_disconnect(
        self, _: Client, __: Any, ___: DisconnectFlags, reason: ReasonCode, ____: Properties | None
    ) -> None:
        self._ready.clear()
        if not self._closing:
            log.error("the subscriber lost the broker and connects again", reason=str(reason))
            self._spawn(self._reconnect(), "subscriber reconnect")

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        self.received += 1
        now = epoch_ms()
        self._intake.submit(Message(message.topic, bytes(message.payload), now), self._answer)

    def _answer(self, outcome: Outcome | None) -> None:
        if outcome is None or not outcome.reply:
            return
        info = self._client.publish(outcome.reply_topic, outcome.reply)
        if info.rc is MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.replied += 1
        else:
            log.warning("a reply could not be published", topic=outcome.reply_topic, reason=info.rc.name)

    def _on_socket_open(self, client: Client, _: Any, sock: SocketLike) -> None:
        # Else a reply waits, up to 40 ms, until TCP has acknowledged the reply before it: the broker's side of this
        # connection has nothing to send that would carry the acknowledgement.
        if isinstance(sock, socket.socket):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop.add_reader(sock, client.loop_read)

    def _on_socket_close(self, _: Client, __: Any, sock: SocketLike) -> None:
        self._loop.remove_reader(sock)

    def _on_socket_register_write(self, client: Client, _: Any, sock: SocketLike) -> None:
        self._loop.add_writer(sock, client.loop_write)

    def _on_socket_unregister_write(self, _: Client, __: Any, sock: SocketLike) -> None:
        self._loop.remove_writer(sock)

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        task = self._loop.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
