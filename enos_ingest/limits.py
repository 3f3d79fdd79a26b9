"""What one client may take, and what all together may: the settings under `[limits]`."""

from __future__ import annotations

from dataclasses import dataclass, field

from enos_ingest.about import about

__all__ = ["LimitsSettings"]

_MQTT_LONGEST = 268_435_455
"""The longest packet that MQTT can announce [MQTT 2.2.3]."""


@dataclass(frozen=True, slots=True)
class LimitsSettings:
    """What one client may take, and what all together may."""

    message_bytes: int = field(
        default=524_288,
        metadata=about(
            "The longest payload that is read; a longer one is answered 1206.", low=1024, high=_MQTT_LONGEST
        ),
    )
    packet_bytes: int = field(
        default=1_048_576,
        metadata=about(
            "The longest MQTT packet; a longer one closes the connection. At least message_bytes.",
            low=1024,
            high=_MQTT_LONGEST,
        ),
    )
    connect_bytes: int = field(
        default=16_384,
        metadata=about(
            "The longest CONNECT packet, which anybody may send before being known.", low=256, high=1_048_576
        ),
    )
    connect_seconds: float = field(
        default=10.0,
        metadata=about(
            "Seconds that a new connection may take to send CONNECT, the handshake of TLS included.", low=0.1, high=3600
        ),
    )
    connections: int = field(
        default=10_000, metadata=about("MQTT connections at the same time.", low=1, high=1_000_000)
    )
    connections_per_address: int = field(
        default=10_000,
        metadata=about(
            "The same, from one source address; IPv6 counts by /64. A whole site may be behind one address.",
            low=1,
            high=1_000_000,
        ),
    )
    connects_per_second: int = field(
        default=5000,
        metadata=about(
            "New connections a second from one source address; as many may come at once.", low=1, high=1_000_000
        ),
    )
    tls_handshakes: int = field(
        default=1000,
        metadata=about("Handshakes of TLS that wait for their turn; more are refused.", low=1, high=1_000_000),
    )
    in_flight: int = field(
        default=2000,
        metadata=about(
            "Uplinks read and not yet committed, over all connections; at the limit reading stops until some are.",
            low=1,
            high=1_000_000,
        ),
    )
    in_flight_bytes: int = field(
        default=67_108_864,
        metadata=about("The same, in bytes of payload: 2000 long messages could be 1 GiB.", low=1024, high=2**40),
    )
    in_flight_per_connection: int = field(
        default=256,
        metadata=about(
            "Uplinks of one connection read and not yet committed; at the limit its reading stops until some are.",
            low=1,
            high=1_000_000,
        ),
    )
    unacknowledged: int = field(
        default=1000,
        metadata=about(
            "Messages of QoS 1 to one client that it has not acknowledged; more go out with QoS 0, and TCP loses none.",
            low=1,
            high=65_535,
        ),
    )
    subscriptions: int = field(
        default=2000,
        metadata=about(
            "Topic filters per connection; a gateway needs several for each sub-device.", low=1, high=100_000
        ),
    )
    sub_devices_per_gateway: int = field(
        default=200,
        metadata=about("Sub-devices that one gateway may have online at the same time.", low=1, high=100_000),
    )
    max_future_seconds: int = field(
        default=0,
        metadata=about(
            "Seconds that a point may be ahead of the clock; further ahead it is answered 1206. 0 for no bound.",
            low=0,
            high=10_000_000_000,
        ),
    )
    quarantine_rows: int = field(
        default=10_000, metadata=about("Rejected messages kept; beyond that the oldest go.", low=1, high=1_000_000_000)
    )
    quarantine_bytes: int = field(
        default=67_108_864,
        metadata=about("Bytes of rejected messages kept; beyond that the oldest go.", low=1024, high=2**50),
    )
    event_rows: int = field(
        default=1_000_000,
        metadata=about("Events of devices kept; beyond that those go that came first.", low=1, high=1_000_000_000),
    )
    event_days: int = field(
        default=365, metadata=about("Days that an event is kept, from its receipt on.", low=1, high=36_500)
    )
    http_connections: int = field(
        default=4096,
        metadata=about("HTTP connections at the same time; more are closed at once.", low=1, high=1_000_000),
    )
    http_connections_per_address: int = field(
        default=2048,
        metadata=about(
            "The same, from one source address; IPv6 counts by /64. All callers behind a proxy have its address.",
            low=1,
            high=1_000_000,
        ),
    )
    http_requests: int = field(
        default=4000,
        metadata=about(
            "HTTP calls answered at the same time; more get 503, on the connections that http_connections has left.",
            low=1,
            high=1_000_000,
        ),
    )
    http_strangers_per_second: int = field(
        default=100,
        metadata=about(
            "HTTP requests a second without valid credentials from one source address; as many may come at once."
            " More get 429.",
            low=1,
            high=1_000_000,
        ),
    )
    http_body_bytes: int = field(
        default=1_048_576,
        metadata=about("The longest body of an HTTP call; a longer one is answered 413.", low=1024, high=2**30),
    )
    calls_per_second: int = field(
        default=2000,
        metadata=about(
            "HTTP calls a second of one application; as many may come at once. More get 429.", low=1, high=1_000_000
        ),
    )
    signed_calls: int = field(
        default=100_000,
        metadata=about(
            "Signed calls that act, remembered of one application so that each is done once, some 200 bytes each;"
            " when there are more, what is as old as those forgotten is refused.",
            low=1,
            high=10_000_000,
        ),
    )
    drain_seconds: float = field(
        default=10.0,
        metadata=about("Seconds that SIGTERM may take to commit and answer what was read.", low=0, high=3600),
    )
    outgoing_bytes: int = field(
        default=4_194_304,
        metadata=about(
            "Bytes waiting for one client that does not read; beyond that it is disconnected.", low=4096, high=2**30
        ),
    )
    outgoing_bytes_total: int = field(
        default=268_435_456,
        metadata=about(
            "The same, for all together; beyond that those are disconnected for whom most waits.", low=4096, high=2**40
        ),
    )
    incoming_bytes_total: int = field(
        default=134_217_728,
        metadata=about(
            "Bytes of packets over 16 KiB being read, over all connections; further ones wait. At least packet_bytes.",
            low=1024,
            high=2**40,
        ),
    )
