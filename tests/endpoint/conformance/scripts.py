"""What a device may say, as scripts that any server can be played.

They publish where this hub answers nothing: its replies come without a subscription, which no other server does.
"""

from __future__ import annotations

from enos_ingest.endpoint.packets import PacketType, encode_ack, encode_publish
from enos_ingest.protocol.credentials import Credentials
from tests.endpoint.conformance.device import ANSWER_TOPIC, REPLY_TOPIC
from tests.endpoint.conformance.exchange import Step
from tests.endpoint.conformance.faults import FIRST, LATER
from tests.endpoint.raw import DISCONNECT, PINGREQ, connect_packet, subscribe_packet, unsubscribe_packet

__all__ = ["make_scripts"]

MINE = "/sys/P/alone/#"

_LAST = 9


def make_scripts(device: Credentials) -> dict[str, list[Step]]:
    """All scripts by name; each starts on a connection of its own, with CONNECT unless that is what it is about."""
    connect = Step(connect_packet(device), 1)
    scripts = {
        **{f"in place of CONNECT: {fault.name}": [Step(fault.sent)] for fault in FIRST},
        **_connects(device),
    }
    after_connect = {
        **{f"fault: {fault.name}": [Step(fault.sent)] for fault in LATER},
        **_publishes(),
        **_subscriptions(),
        "PINGREQ": [Step(PINGREQ, 1)],
        "DISCONNECT": [Step(DISCONNECT)],
        "DISCONNECT with more behind it": [Step(DISCONNECT + PINGREQ)],
    }
    scripts |= {name: [connect, *steps] for name, steps in after_connect.items()}
    # A clean session at the end of each, so that none finds what another has left.
    return {name: [*steps, connect._replace(peer=_LAST)] for name, steps in scripts.items()}


def _connects(device: Credentials) -> dict[str, list[Step]]:
    connect = connect_packet(device)
    kept = connect_packet(device, clean_session=False)
    heads = {
        "3.1": b"\x00\x06MQIsdp\x03",
        "level 3": b"\x00\x04MQTT\x03",
        "level 6": b"\x00\x04MQTT\x06",
        "of a bridge": b"\x00\x04MQTT\x84",
        "of another protocol": b"\x00\x04mqtt\x04",
    }
    bodies = {name: head + b"\x02\x00\x00\x00\x01a" for name, head in heads.items()}
    bodies["5.0"] = b"\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01a"
    return {
        "CONNECT": [Step(connect, 1)],
        "CONNECT with a will": [Step(connect_packet(device, will=(ANSWER_TOPIC, b"{}")), 1)],
        "CONNECT with a will to retain": [Step(connect_packet(device, will=(ANSWER_TOPIC, b""), will_retain=True), 1)],
        "CONNECT with more behind it": [Step(connect + PINGREQ + subscribe_packet(REPLY_TOPIC), 3)],
        "CONNECT without a clean session": [Step(kept, 1)],
        "CONNECT again without a clean session": [Step(kept, 1), Step(DISCONNECT), Step(kept, 1, peer=1)],
        "CONNECT with a clean session after another": [Step(kept, 1), Step(DISCONNECT), Step(connect, 1, peer=1)],
        "CONNECT without a client id and a clean session": [
            Step(connect_packet(device, client_id="", clean_session=False), 1)
        ],
        "take-over": [Step(connect, 1), Step(connect, 1, peer=1), Step(b""), Step(b"", peer=1)],
        **{
            f"CONNECT {name}": [Step(bytes((0x10, len(body))) + body, 1)] for name, body in bodies.items()
        },
    }  # fmt: skip


def _publishes() -> dict[str, list[Step]]:
    def publish(qos: int = 0, packet_id: int = 0, *, flags: int = 0, topic: str = ANSWER_TOPIC) -> bytes:
        packet = encode_publish(topic, b"{}", qos=qos, packet_id=packet_id)
        return bytes((packet[0] | flags,)) + packet[1:]

    release = encode_ack(PacketType.PUBREL, 513)
    scripts = {
        "PUBLISH of QoS 0": [Step(publish())],
        "PUBLISH of QoS 1": [Step(publish(1, 513), 1)],
        "PUBLISH of QoS 1 with DUP": [Step(publish(1, 513, flags=8), 1)],
        "PUBLISH of QoS 1 again": [Step(publish(1, 513), 1), Step(publish(1, 513, flags=8), 1)],
        "PUBLISH of QoS 2": [Step(publish(2, 513), 1), Step(release, 1)],
        "PUBLISH of QoS 2 with DUP": [Step(publish(2, 513, flags=8), 1), Step(release, 1)],
        "PUBLISH of QoS 2 again before PUBREL": [
            Step(publish(2, 513), 1), Step(publish(2, 513, flags=8), 1), Step(release, 1), Step(release, 1),
        ],
        "PUBLISH of QoS 2 again after PUBREL": [
            Step(publish(2, 513), 1), Step(release, 1), Step(publish(2, 513), 1), Step(release, 1),
        ],
        "PUBLISH, many of QoS 1": [Step(b"".join(publish(1, number) for number in range(1, 11)), 10)],
        "PUBLISH, many of QoS 2": [
            Step(b"".join(publish(2, number) for number in range(1, 11)), 10),
            Step(b"".join(encode_ack(PacketType.PUBREL, number) for number in (3, 1, 2)), 3),
        ],
        "PUBLISH without a payload": [Step(encode_publish(ANSWER_TOPIC, b"", qos=1, packet_id=1), 1)],
        "PUBLISH of 200 000 bytes": [Step(encode_publish(ANSWER_TOPIC, b" " * 200_000, qos=1, packet_id=1), 1)],
        "PUBLISH elsewhere": [Step(publish(1, 1, topic="plant/line"), 1)],
        "PUBLISH to a topic with a control character": [Step(publish(1, 1, topic="plant/\x01"), 1)],
        "PUBLISH to a topic with no character": [Step(publish(1, 1, topic="plant/\ufffe"), 1)],
        "PUBLISH to a topic with a byte order mark": [Step(publish(1, 1, topic="plant/\ufeff"), 1)],
        "PUBLISH to a topic of 500 levels": [Step(publish(1, 1, topic="/a" * 500), 1)],
        "PUBLISH to the longest topic": [Step(publish(1, 1, topic="t" * 65_535), 1)],
        "PUBREL of nothing": [Step(release, 1)],
        **{
            f"{kind.name} of nothing": [Step(encode_ack(kind, 513))]
            for kind in (PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBCOMP)
        },
        "length of more bytes than it needs": [Step(b"\xc0\x80\x80\x00", 1)],
        "PUBLISH where the device subscribes": [Step(subscribe_packet(MINE), 1), Step(publish())],
        "PUBLISH to be retained": [
            Step(publish(flags=1)), Step(subscribe_packet(MINE), 1), Step(encode_publish(ANSWER_TOPIC, b"")),
        ],
    }  # fmt: skip
    # What is retained is taken back in the same script, so that none of the others meets it.
    retained = bytes((0x31,)) + encode_publish(ANSWER_TOPIC, b"")[1:]
    scripts["PUBLISH to be retained"][-1] = Step(unsubscribe_packet(MINE) + retained, 1)
    return scripts


def _subscriptions() -> dict[str, list[Step]]:
    return {
        "SUBSCRIBE with QoS 0": [Step(subscribe_packet(REPLY_TOPIC, packet_id=513), 1)],
        "SUBSCRIBE with QoS 1": [Step(subscribe_packet(REPLY_TOPIC, qos=1), 1)],
        "SUBSCRIBE with QoS 2": [Step(subscribe_packet(REPLY_TOPIC, qos=2), 1)],
        "SUBSCRIBE to several": [Step(subscribe_packet(REPLY_TOPIC, MINE, "/sys/+/+/thing/x_reply", qos=1), 1)],
        "SUBSCRIBE twice": [Step(subscribe_packet(REPLY_TOPIC, qos=qos), 1) for qos in (1, 0)],
        "SUBSCRIBE to one filter twice at once": [Step(subscribe_packet(REPLY_TOPIC, REPLY_TOPIC), 1)],
        "SUBSCRIBE to another's": [Step(subscribe_packet("/sys/P/other/#", MINE), 1)],
        "SUBSCRIBE to all": [Step(subscribe_packet("#"), 1)],
        "SUBSCRIBE to a control character": [Step(subscribe_packet("/sys/P/alone/\x01"), 1)],
        "UNSUBSCRIBE": [Step(subscribe_packet(MINE), 1), Step(unsubscribe_packet(MINE, packet_id=513), 1)],
        "UNSUBSCRIBE from several": [Step(unsubscribe_packet(MINE, REPLY_TOPIC, packet_id=513), 1)],
        "UNSUBSCRIBE from nothing": [Step(unsubscribe_packet("never/held"), 1)],
        "SUBSCRIBE and UNSUBSCRIBE at once": [
            Step(subscribe_packet(MINE) + unsubscribe_packet(MINE) + subscribe_packet(MINE), 3)
        ],
    }
