"""The wire contract of the EnOS device protocol: pure functions, no sockets, no clock.

topics        where a message goes: parsing of topics, reply topics
identity      who speaks: devices, integration channels, operators
credentials   MQTT client id, user name and signature
messages      requests and replies as JSON
codes         return codes
raw           uplinks in a product's own format: their topics, and the requests that they are
notices       what the hub tells devices unasked
compression   payloads as the Java SDK compresses them
"""
