"""The embedded amqtt broker, fenced.

amqtt has no listener of its own here: the endpoint reads whole, checked packets and hands them over through
amqtt's external listener. Access is decided by `devices.access` in place of amqtt's topic plugins, for two
reasons: a plugin costs a task per call, and it suspends amqtt while it iterates its table of subscriptions,
which a subscription arriving meanwhile breaks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from amqtt.adapters import ReaderAdapter, WriterAdapter
from amqtt.broker import Action, Broker
from amqtt.contexts import BrokerConfig
from amqtt.errors import AMQTTError, BrokerError, MQTTError, NoDataError
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.session import Session

from enos_ingest.devices.access import may_receive, may_subscribe
from enos_ingest.devices.directory import Directory
from enos_ingest.logs import FewLines, get_logger
from enos_ingest.protocol.identity import Hub, Operator

__all__ = ["BrokerClient", "EmbeddedBroker"]

log = get_logger(__name__)

_LISTENER = "default"

_RETAINED_TOPICS = 1000
"""Retained messages live in memory until they are cleared; more topics than this are not retained."""

_RETAINED_BYTES = 16_777_216
"""The same for their payloads and topics together: a thousand of the longest would be 1 GiB."""


class BrokerClient(Protocol):
    """What the broker needs to know of a connection that it serves."""

    @property
    def client_id(self) -> str: ...

    @property
    def identity(self) -> Operator | Hub: ...

    def delivered(self) -> None:
        """The broker has taken one PUBLISH of this client for distribution."""
        ...

    def serving(self) -> None:
        """The broker is ready for the packets after CONNECT."""
        ...

    def receive(self) -> None:
        """The broker is about to send this client a message."""
        ...

    def subscribe(self, topic_filter: str) -> bool:
        """Note a filter that the client is about to hold; False where it holds too many."""
        ...

    def unsubscribe(self, topic_filter: str) -> None:
        """Note that the client holds a filter no more."""
        ...


class EmbeddedBroker(Broker):  # type: ignore[misc]
    """amqtt, serving connections that have been authenticated already.

    Args:
        directory: gives the registry as it is now.
        unacknowledged: messages of QoS 1 or 2 that one client may leave unacknowledged; it misses what comes then.
    """

    def __init__(self, directory: Callable[[], Directory], *, unacknowledged: int) -> None:
        config = {
            "listeners": {_LISTENER: {"type": "external", "bind": ""}},
            # Whoever reaches amqtt has been authenticated by the endpoint, so amqtt lets everyone in. None of its
            # default plugins (event log, packet log, $SYS) is wanted: they cost five tasks a message.
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
        super().__init__(BrokerConfig.from_dict(config))
        logging.getLogger("amqtt.broker").addFilter(_is_no_timeout)
        self._directory = directory
        self._unacknowledged = unacknowledged
        self._clients: dict[str, BrokerClient] = {}
        self._lines = FewLines()

    async def serve(self, client: BrokerClient, reader: ReaderAdapter, writer: WriterAdapter) -> None:
        """Serve one connection to its end."""
        self._clients[client.client_id] = client
        try:
            await self.external_connected(reader, writer, _LISTENER)
        except (AMQTTError, MQTTError, NoDataError, BrokerError, OSError) as error:
            log.warning("the broker dropped a connection", client=str(client.identity), error=str(error))
        finally:
            del self._clients[client.client_id]
            # amqtt looks for ended sessions once a second; until then it would still try to deliver to this one.
            await self._cleanup_session(client.client_id)

    def drop_will(self, client_id: str) -> None:
        """Leave a client's will unpublished: it may not do any more what it was allowed to."""
        session, _ = self.sessions.get(client_id, (None, None))
        if session is not None:
            session.will_flag = False

    @property
    def undelivered(self) -> int:
        """How many messages wait to be matched with subscriptions."""
        waiting: int = self._broadcast_queue.qsize()
        return waiting

    @property
    def is_idle(self) -> bool:
        """Whether every message taken so far has been written to its subscribers' connections."""
        return not self.undelivered and all(task.done() for task in self._tasks_queue)

    async def retain_message(
        self,
        source_session: Session | None,
        topic_name: str | None,
        data: bytes | bytearray | None,
        qos: int | None = None,
    ) -> None:
        """Retain a message, as long as there is room for it; one that is not leaves the topic what it had."""
        if data and topic_name is not None:
            others = {topic: len(topic) + len(held.data) for topic, held in self.retained_messages.items()}
            others.pop(topic_name, None)
            reason = ""
            if len(others) >= _RETAINED_TOPICS:
                reason = "too many topics have one"
            elif sum(others.values()) + len(topic_name) + len(data) > _RETAINED_BYTES:
                reason = "all of them are too long together"
            if reason:
                unsaid = self._lines.next()
                if unsaid is not None:
                    more = {"more": unsaid} if unsaid else {}
                    log.warning("message not retained", topic=topic_name, reason=reason, **more)
                return
        await super().retain_message(source_session, topic_name, data, qos)

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        """Send what is retained for a filter, to the one who has just subscribed to it.

        amqtt also calls this for every filter of everybody when a client connects, and asks nobody whether the
        client may receive. Retained messages are operators' alone: uplinks and replies are never retained.
        """
        client = self._clients.get(session.client_id or "")
        holders = self.subscriptions.get(subscription[0], [])
        if (
            client is None
            or not isinstance(client.identity, Operator)
            or all(held is not session for held, _ in holders)
        ):
            return
        await super()._publish_retained_messages_for_subscription(subscription, session)

    async def _client_message_loop(self, client_session: Session, handler: BrokerProtocolHandler) -> None:
        client = self._clients.get(client_session.client_id or "")
        if client is not None:
            client.serving()
        await super()._client_message_loop(client_session, handler)

    def _del_subscription(self, a_filter: str, session: Session) -> int:
        """Forget a filter of a session, and the filter itself once nobody holds it: every message looks at them all.

        The client is told here, as amqtt takes SUBSCRIBE and UNSUBSCRIBE late.
        """
        deleted: int = super()._del_subscription(a_filter, session)
        client = self._clients.get(session.client_id or "")
        if deleted and client is not None:
            client.unsubscribe(a_filter)
        if not self.subscriptions.get(a_filter, True):
            del self.subscriptions[a_filter]
        return deleted

    async def _del_all_subscriptions(self, session: Session) -> None:
        """Forget all filters of a session; amqtt's own would not bear that filters go while it looks at them."""
        for topic_filter in list(self.subscriptions):
            self._del_subscription(topic_filter, session)

    def _take(self, topic_filter: str, session: Session, client: BrokerClient) -> bool:
        """Whether a client may hold a filter; if so, one that it holds already is on the way to be replaced."""
        if not may_subscribe(client.identity, topic_filter, self._directory()):
            return False
        self._del_subscription(topic_filter, session)  # amqtt would keep its QoS [MQTT-3.8.4-3]
        return client.subscribe(topic_filter)

    async def _topic_filtering(self, session: Session, topic: str, action: Action) -> bool:
        """amqtt's question whether a session may use a topic; answered without suspending."""
        client = self._clients.get(session.client_id or "")
        if client is None:
            return False
        match action:
            case Action.PUBLISH:
                client.delivered()  # the endpoint has checked the topic before it let the packet pass
                return True
            case Action.SUBSCRIBE:
                return self._take(topic, session, client)
            case Action.RECEIVE:
                # Of what is not acknowledged amqtt has a task for each, and keeps them for seconds.
                behind = len(session.inflight_out) >= self._unacknowledged
                if behind or not may_receive(client.identity, topic):
                    return False
                client.receive()
                return True
        return False  # no other question is known


def _is_no_timeout(record: logging.LogRecord) -> bool:
    """Keep out of the log what a client's missing acknowledgement is to amqtt: an error with a traceback for each."""
    return record.exc_info is None or not isinstance(record.exc_info[1], TimeoutError)
