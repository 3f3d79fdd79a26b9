"""The one listener for MQTT: it frames, authenticates and limits, then relays to the embedded broker.

packets         MQTT 3.1.1 packets from bytes and to bytes, as far as the endpoint looks into them (pure)
authentication  who is behind a CONNECT
relay           one client's connection to the broker: what passes, what is answered here
adapters        a relay as amqtt sees it
limits          bounds on connections, and what is counted about them
listener        accepting, take-over, drain
"""
