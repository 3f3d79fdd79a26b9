"""The one listener for MQTT: it frames, limits and authenticates; devices get a session, operators the embedded broker.

listener        accepts, reads CONNECT, hands clients on, drains
admission       how many connections, in all and from one address, and how fast (pure)
authentication  who is behind a CONNECT
connection      one socket: packets in, bytes out, deadlines, the end; roles: who it has to do with;
                streams: the same connection for amqtt
incoming        what all connections hold of unfinished packets; outgoing: what waits for slow readers (pure)
decoder         packets from bytes in any slicing (pure)
packets         MQTT 3.1.1 packets, from their bodies and to bytes (pure)
session         one device; delivery: what it is sent; subscriptions: where its replies go (pure);
                behind: what waits for a codec; rights: where it may publish (pure);
                sessions: all of them
activation      a device that is told its secret, and may do nothing else
relay           one operator's connection to amqtt; packet_stream: what comes of it;
                adapters: as amqtt sees it; relays: all of them
mirror          copies of device traffic for operators (pure)
limits          bounds, and what is counted
tls             the certificate; expiry: its end (pure);
                tls_transport: TLS between a socket and a connection; handshakes: in turn
"""
