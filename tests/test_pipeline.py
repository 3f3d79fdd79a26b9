"""The order of steps: what is a request, which route takes it, what its outcome holds."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.devices.presence import Presence
from enos_ingest.outcome import Outcome, Point
from enos_ingest.pipeline import Message, Pipeline
from enos_ingest.protocol.identity import DeviceId, Publisher
from tests.models.documents import compiled, point

DEVICE = DeviceId("EbxGvUrE", "gw-1")
RESUME = f"/sys/{DEVICE}/thing/measurepoint/resume"
BATCH = f"{RESUME}/batch"
POST = "/sys/EbxGvUrE/integration/measurepoint/post"
RECEIVED = 1_700_000_000_000
MODEL = compiled(temp=point("FLOAT"), flag=point("BOOL"))


def pipeline(**options: Any) -> Pipeline:
    """One device, two points; a product whose thing model is not loaded beside it."""
    directory = Directory(
        [Product("EbxGvUrE", model="m"), Product("Waiting0", model="not there yet")],
        [Device(DEVICE), Device(DeviceId("Waiting0", "d"))],
    )
    return Pipeline(lambda: directory, {"m": MODEL}, Presence(), **options)


def judge(topic: str, payload: Any, publisher: Publisher | None = None, **options: Any) -> Outcome:
    """The outcome of one message."""
    body = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    outcome = pipeline(**options).process(Message(topic, body, RECEIVED, publisher))
    assert outcome is not None
    return outcome


def resume(measurepoints: dict[str, Any], **params: Any) -> dict[str, Any]:
    """A request for `resume`."""
    return {
        "id": "7",
        "version": "1.0",
        "method": "thing.measurepoint.resume",
        "params": {"measurepoints": measurepoints, **params},
    }


def batch(*items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A request for `resume/batch`."""
    method = "thing.measurepoint.resume.batch"
    return {"id": "7", "version": "1.0", "method": method, "params": list(items), **fields}


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "/",
        "hello",
        "/sys",
        "/sys/EbxGvUrE",
        "/sys/EbxGvUrE/gw-1",
        "/sys/EbxGvUrE//thing/measurepoint/resume",
        "/other/EbxGvUrE/gw-1/thing/measurepoint/resume",
        "//sys/EbxGvUrE/gw-1/thing/measurepoint/resume",
        f"{RESUME}_reply",
        f"{POST}_reply",
        "/ext/session/EbxGvUrE/gw-1/combine/login_reply",
        f"/sys/{DEVICE}/thing/service/measurepoint/set",
        f"/sys/{DEVICE}/thing/service/measurepoint/set_reply",
        f"/sys/{DEVICE}/thing/model/down_raw",
        f"/sys/{DEVICE}/rrpc/request/1",
        f"/sys/{DEVICE}/rrpc/response/1",
        f"/ext/session/{DEVICE}/combine/enable",
        "$SYS/broker/uptime",
    ],
)
def test_what_is_no_request_has_no_outcome(topic: str) -> None:
    """Foreign topics, replies and downlinks are not answered, lest two hubs talk to each other for ever."""
    assert pipeline().process(Message(topic, orjson.dumps(resume({})), RECEIVED)) is None


@pytest.mark.parametrize(
    ("topic", "named"),
    [
        (f"/sys/{DEVICE}/thing/measurepoint/resume/batch/more", "thing/measurepoint/resume/batch/more"),
        (f"{RESUME}/", "thing/measurepoint/resume/"),
        (f"/sys/{DEVICE}/thing/nonsense", "thing/nonsense"),
        (f"sys/{DEVICE}/thing/nonsense", "thing/nonsense"),
        (f"/ext/session/{DEVICE}/combine/nonsense", "combine/nonsense"),
        (f"/ext/session/{DEVICE}/thing/measurepoint/resume", "thing/measurepoint/resume"),
        ("/sys/EbxGvUrE/integration/nonsense", "nonsense"),
        (f"/sys/{DEVICE}/measurepoint/post", "measurepoint/post"),
    ],
)
def test_unknown_topic_is_answered_1009(topic: str, named: str) -> None:
    """With the id, however broken the payload is, so that the sender need not wait for its timeout."""
    for payload in (b'{"id":"7"}', b'{"id":"7",', b'{"id": 7 }'):
        outcome = judge(topic, payload)
        message = f"no such topic for devices: {named}"
        assert orjson.loads(outcome.reply) == {"id": "7", "code": 1009, "data": {}, "message": message}
        assert (outcome.operation, outcome.reply_topic) == ("unknown", f"{topic}_reply")
        assert outcome.record is not None
        assert outcome.record.rejection is not None
        assert outcome.record.rejection.payload == payload


def test_long_name_of_an_unknown_topic_is_cut() -> None:
    """A reply says what is wrong in a few words."""
    outcome = judge(f"/sys/{DEVICE}/{'x' * 5000}", b"")
    assert outcome.reason == f"no such topic for devices: {'x' * 100}"


def test_outcome_of_a_good_request() -> None:
    """The points to store, and a reply that must wait for them."""
    outcome = judge(RESUME, resume({"temp": 1.5, "flag": True}, time=5))
    assert outcome.record is not None
    assert outcome.record.points == [
        Point("EbxGvUrE", "gw-1", "temp", 5, 1.5, None, "resume"),
        Point("EbxGvUrE", "gw-1", "flag", 5, True, None, "resume"),
    ]
    assert (outcome.record.rejection, outcome.record.activated, outcome.record.time) == (None, (), RECEIVED)
    assert (outcome.operation, outcome.code, outcome.reason) == ("thing/measurepoint/resume", 200, "")
    assert outcome.reply == b'{"id":"7","code":200,"data":{}}'
    assert outcome.reply_topic == f"{RESUME}_reply"


def test_nothing_to_store_asks_for_no_commit() -> None:
    """A request without a point is answered at once."""
    assert judge(RESUME, resume({})).record is None


def test_outcome_of_a_refusal() -> None:
    """What goes to quarantine is what came in, and what was answered."""
    payload = orjson.dumps(resume({"nope": 1}))
    outcome = judge(RESUME, payload)
    assert outcome.record is not None
    assert outcome.record.points == []
    reason = "params.measurepoints.nope: unknown"
    assert outcome.record.rejection == (RECEIVED, RESUME, "EbxGvUrE/gw-1", 1204, reason, payload, len(payload))
    assert (outcome.code, outcome.reason, outcome.skipped) == (1204, reason, 0)


def test_skipped_points_are_counted_and_named() -> None:
    """In the reply only how many; in quarantine, beside the message, which and why."""
    request = batch({"measurepoints": {"temp": 1, "nope": 1, "flag": 1}}, skipInvalidMeasurepoints=True)
    outcome = judge(BATCH, request)
    assert (outcome.code, outcome.skipped, outcome.reason) == (200, 2, "2 invalid measurement points skipped")
    assert outcome.record is not None
    assert [point.measurepoint for point in outcome.record.points] == ["temp"]
    path = "params[0].measurepoints"
    assert outcome.record.rejection is not None
    assert outcome.record.rejection[3:5] == (200, f"skipped: {path}.nope: unknown; {path}.flag: expected a boolean")


def test_reason_is_kept_short() -> None:
    """Keys that a device made up do not turn a reply into a book."""
    long = "k" * 5000
    outcome = judge(BATCH, batch({"deviceKey": long, "measurepoints": {}}))
    assert outcome.code == 1212
    assert len(outcome.reason) == 300
    assert outcome.reason.endswith("...")
    assert outcome.reason == orjson.loads(outcome.reply)["message"]


@pytest.mark.parametrize(("topic", "request_"), [(RESUME, resume({"temp": 1})), (BATCH, batch({"measurepoints": {}}))])
def test_topic_tells_the_publisher_where_nobody_else_does(topic: str, request_: dict[str, Any]) -> None:
    """The device of the topic counts as the one who sent it."""
    assert judge(topic, request_).code == 200


def test_topic_tells_the_channel_where_nobody_else_does() -> None:
    """The product's channel likewise."""
    item = {"deviceKey": "gw-1", "measurepoints": {"temp": 1}}
    request = {"version": "1.0", "method": "integration.measurepoint.post", "params": [item]}
    outcome = judge(POST, request)
    assert outcome.code == 200
    assert outcome.record is not None
    assert outcome.record.points[0].origin == "integration"


@pytest.mark.parametrize(
    "topic", ["/sys/EbxGvUrE/nobody/thing/measurepoint/resume", "/sys/Nowhere0/d/thing/measurepoint/resume"]
)
def test_device_that_is_not_registered_may_not_report(topic: str) -> None:
    """An operator may publish anywhere; that makes no devices."""
    keys = "/".join(topic.split("/")[2:4])
    outcome = judge(topic, resume({"temp": 1}))
    assert (outcome.code, outcome.reason) == (1212, f"device {keys} is not registered")


def test_thing_model_that_is_not_loaded() -> None:
    """Its name is said: somebody has to put the file there."""
    outcome = judge("/sys/Waiting0/d/thing/measurepoint/resume", resume({}))
    assert (outcome.code, outcome.reason) == (
        1204,
        "params: product Waiting0: thing model not there yet is not loaded",
    )


def test_limit_of_a_payload_is_a_setting() -> None:
    """To the byte."""
    payload = orjson.dumps(resume({"temp": 1}))
    assert judge(RESUME, payload, message_bytes=len(payload)).code == 200
    assert judge(RESUME, payload, message_bytes=len(payload) - 1).code == 1206


LOGIN = f"/ext/session/{DEVICE}/combine/login"


@pytest.mark.parametrize(("topic", "code"), [(RESUME, 1206), (BATCH, 1206), (POST, 1206), (LOGIN, 1220)])
@pytest.mark.parametrize(
    ("beginning", "echoed"),
    [(b'{"id":"7","version":"1.', "7"), (b'{"id":7,"', "7"), (b'{"id":7', ""), (b'{"id":"7', ""), (b'{"ver', "")],
)
def test_only_the_beginning_of_a_payload_over_the_limit(topic: str, code: int, beginning: bytes, echoed: str) -> None:
    """Is enough to say how long it was, and for its id unless that is cut itself; quarantine has the true size."""
    outcome = pipeline(message_bytes=1000).process(Message(topic, beginning, RECEIVED, size=1001))
    assert outcome is not None
    reason = "payload of 1001 bytes is over the limit of 1000"
    assert orjson.loads(outcome.reply) == {"id": echoed, "code": code, "data": {}, "message": reason}
    assert outcome.record is not None
    assert outcome.record.rejection is not None
    assert outcome.record.rejection[3:] == (code, reason, beginning, 1001)


def test_only_the_beginning_of_a_payload_on_an_unknown_topic() -> None:
    """Its size does not matter for the answer."""
    topic = f"/sys/{DEVICE}/thing/nonsense"
    for beginning, echoed in ((b'{"id":7,"', "7"), (b'{"id":7', "")):
        outcome = pipeline(message_bytes=1000).process(Message(topic, beginning, RECEIVED, size=1001))
        assert outcome is not None
        assert (outcome.code, orjson.loads(outcome.reply)["id"]) == (1009, echoed)
        assert outcome.record is not None
        assert outcome.record.rejection is not None
        assert outcome.record.rejection[5:] == (beginning, 1001)


def test_size_of_a_whole_payload_may_be_told() -> None:
    """It says nothing new."""
    payload = orjson.dumps(resume({"temp": 1}))
    for publisher in (None, DEVICE):
        outcome = pipeline().process(Message(RESUME, payload, RECEIVED, publisher, len(payload)))
        assert outcome is not None
        assert outcome.code == 200


FUTURE = RECEIVED + 60_000
LATE = "more than 60 seconds in the future"


@pytest.mark.parametrize("time", [0, RECEIVED, FUTURE, None])
def test_points_may_lie_so_far_in_the_future(time: int | None) -> None:
    """Up to the bound, and without a time."""
    assert judge(RESUME, resume({"temp": 1}, time=time), max_future_seconds=60).code == 200
    item = {"measurepoints": {"temp": 1}, "time": time}
    assert judge(BATCH, batch(item, item), max_future_seconds=60).code == 200


@pytest.mark.parametrize("time", [FUTURE + 1, FUTURE / 1000 + 0.5, 253402300799999])
def test_points_too_far_in_the_future_are_refused(time: float) -> None:
    """In seconds with a fraction as well; the whole message is, wherever the item stands."""
    outcome = judge(RESUME, resume({"temp": 1}, time=time), max_future_seconds=60)
    assert (outcome.code, outcome.reason) == (1206, f"params.time: {LATE}")
    good, late = {"measurepoints": {"temp": 1}}, {"measurepoints": {"temp": 1}, "time": time}
    outcome = judge(BATCH, batch(good, late), max_future_seconds=60)
    assert (outcome.code, outcome.reason) == (1206, f"params[1].time: {LATE}")
    items = [{"deviceKey": "gw-1", **good}, {"deviceKey": "gw-1", **late}]
    request = {"version": "1.0", "method": "integration.measurepoint.post", "params": items}
    assert judge(POST, request, max_future_seconds=60).reason == f"params[1].time: {LATE}"


def test_future_comes_before_the_items() -> None:
    """It is a matter of format, like the rest of the envelope."""
    items: list[dict[str, Any]] = [{"measurepoints": {"nope": 1}}, {"measurepoints": {}, "time": FUTURE + 1}]
    assert judge(BATCH, batch(*items), max_future_seconds=60).code == 1206
    assert judge(BATCH, batch(*items)).code == 1204


def test_future_comes_before_the_sender() -> None:
    """As every fault of the envelope does, on each topic."""
    late = {"deviceKey": "gw-1", "measurepoints": {}, "time": FUTURE + 1}
    post = {"version": "1.0", "method": "integration.measurepoint.post", "params": [late]}
    stranger = DeviceId("EbxGvUrE", "gw-2")
    for topic, request in ((RESUME, resume({}, time=FUTURE + 1)), (BATCH, batch(late)), (POST, post)):
        assert judge(topic, request, stranger, max_future_seconds=60).code == 1206
        assert judge(topic, request, stranger).code == 1212


def test_registry_is_looked_at_for_each_message() -> None:
    """A device that was removed a moment ago is refused."""
    devices = [Device(DEVICE)]
    parts = Pipeline(lambda: Directory([Product("EbxGvUrE", model="m")], devices), {"m": MODEL}, Presence())
    message = Message(RESUME, orjson.dumps(resume({"temp": 1})), RECEIVED)
    codes = []
    for _ in range(2):
        outcome = parts.process(message)
        assert outcome is not None
        codes.append(outcome.code)
        devices.clear()
    assert codes == [200, 1212]


@pytest.mark.parametrize(
    ("payload", "echoed"),
    [
        (b'{"id":123456789012345678901234567890}', "123456789012345678901234567890"),
        (b'{"id":-98765432109876543210 }', "-98765432109876543210"),
        (b'{"params":{"id":"--3"},"id":3.0}', "3"),
        (b'{"params":{"id":"x"},"id":1e20}', "100000000000000000000"),
        (b'{"id":1e999}', ""),
    ],
)
def test_id_beyond_64_bits_is_echoed_as_it_was_sent(payload: bytes, echoed: str) -> None:
    """To the last digit where it can be found in the text: the sender matches the reply by it."""
    reply = orjson.loads(judge(RESUME, payload).reply)
    assert (reply["id"], reply["code"]) == (echoed, 1206)
