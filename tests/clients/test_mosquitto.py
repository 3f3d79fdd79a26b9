"""Manual testing with Debian's mosquitto-clients: one terminal watches, the other publishes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from enos_ingest.testing.hub import Hub
from tests.clients.mosquitto import ask, command_options, publish, watching
from tests.clients.world import GATEWAY, INVERTER, OPERATORS, REGISTRY, SUB_1

pytestmark = pytest.mark.needs("mosquitto_pub", "mosquitto_sub")

ALICE = ("-u", "alice", "-P", "choose-your-own")
RESUME = f"/sys/{INVERTER}/thing/measurepoint/resume"
BATCH = f"/sys/{GATEWAY}/thing/measurepoint/resume/batch"
INTEGRATION = "/sys/Sb7PkXyZ/integration/measurepoint/post"


def request(number: int, params: Any, topic: str = RESUME, **fields: Any) -> str:
    """A request for a topic, as a person types it."""
    method = {
        RESUME: "thing.measurepoint.resume",
        BATCH: "thing.measurepoint.resume.batch",
        INTEGRATION: "integration.measurepoint.post",
    }[topic]
    return json.dumps({"id": str(number), "version": "1.0", "method": method, "params": params, **fields})


def points(value: Any, time: int = 1) -> dict[str, Any]:
    return {"measurepoints": {"temp": value}, "time": time}


@pytest.fixture
def hub(enos_hub: Callable[..., Hub]) -> Hub:
    """A hub with a plant and two operators."""
    return enos_hub(registry={**REGISTRY, **OPERATORS})


@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_an_operator_watches_what_he_publishes_and_the_reply(hub: Hub, qos: str) -> None:
    """With every QoS the request is seen once, then its reply, and the point is stored."""
    with watching(hub, *ALICE, "-t", "/sys/#", "-q", qos) as watcher:
        sent = request(1, points(21.5))
        done = publish(hub, *ALICE, "-q", qos, "-t", RESUME, "-m", sent)
        assert (done.returncode, done.stderr) == (0, b"")
        seen = watcher.wait_for(2)
        assert watcher.wait_for_reply("1") == {"id": "1", "code": 200, "data": {}}
        assert seen[0] == (RESUME, sent)
        assert seen[1][0] == f"{RESUME}_reply"
        publish(hub, *ALICE, "-t", RESUME, "-m", request(2, points(22, 2)))
        watcher.wait_for_reply("2")
        assert len(watcher.messages) == 4, "a message was delivered twice"
    assert [(point.time, point.value) for point in hub.points(INVERTER)] == [(1, 21.5), (2, 22)]


@pytest.mark.parametrize(
    ("topic", "payload", "code"),
    [
        (RESUME, request(1, points(1)), 200),
        (RESUME, request(1, points("warm")), 1204),
        (RESUME, '{"id": "1", "version": "1.0"', 1206),
        (BATCH, request(1, [{"productKey": "Sb7PkXyZ", "deviceKey": "sub001", **points(1)}], BATCH), 1212),
        (INTEGRATION, request(1, [{"deviceKey": "nobody", **points(1)}], INTEGRATION), 1257),
    ],
    ids=["200", "1204", "1206", "1212", "1257"],
)
def test_each_return_code_is_seen(hub: Hub, topic: str, payload: str, code: int) -> None:
    """Each of the five codes comes back on the reply topic, with a word why where something was refused."""
    with watching(hub, *ALICE, "-t", "/sys/#") as watcher:
        publish(hub, *ALICE, "-q", "1", "-t", topic, "-m", payload)
        reply = watcher.wait_for_reply("1")
        assert (reply["code"], reply["data"]) == (code, {})
        assert bool(reply.get("message")) == (code != 200)
        assert watcher.messages[-1][0] == f"{topic}_reply"
    assert len(hub.quarantine()) == (code != 200)


def test_the_printed_credentials_make_a_device(hub: Hub) -> None:
    """What `enos-ingest credentials --options` prints is pasted into mosquitto_pub, which then is that device."""
    options = command_options(hub, INVERTER)
    with watching(hub, *ALICE, "-t", "/sys/#") as watcher:
        assert publish(hub, *options, "-q", "1", "-t", RESUME, "-m", request(7, points(3))).returncode == 0
        assert watcher.wait_for_reply("7")["code"] == 200
        foreign = RESUME.replace("inv-1", "sub001")
        assert publish(hub, *options, "-q", "1", "-t", foreign, "-m", request(8, points(4))).returncode == 0
        assert publish(hub, *options, "-q", "1", "-t", RESUME, "-m", request(9, points(5, 2))).returncode == 0
        assert watcher.wait_for_reply("9")["code"] == 200
        assert all(topic.startswith(RESUME) for topic, _ in watcher.messages)
    assert hub.points(SUB_1) == []
    assert [entry.code for entry in hub.quarantine()] == [1212]


@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_an_operator_watches_what_a_device_sends_and_is_answered(hub: Hub, qos: str) -> None:
    """Request and reply, each once, with every QoS; with QoS 0 the device does not even wait for its reply."""
    requests = [request(1, points(21.5)), request(2, points("warm", 2)), request(3, points(22, 3))]
    device = command_options(hub, INVERTER)
    with watching(hub, *ALICE, "-t", "/sys/#") as watcher:
        for each in requests:
            done = publish(hub, *device, "-q", qos, "-t", RESUME, "-m", each)
            assert (done.returncode, done.stderr) == (0, b"")
        seen = watcher.wait_for(2 * len(requests))
        assert [payload for topic, payload in seen if topic == RESUME] == requests
        replies = [json.loads(payload) for topic, payload in seen if topic == f"{RESUME}_reply"]
        assert [(reply["id"], reply["code"]) for reply in replies] == [("1", 200), ("2", 1204), ("3", 200)]
    assert len(watcher.messages) == len(seen), "a message was shown twice"
    assert [point.value for point in hub.points(INVERTER)] == [21.5, 22]


def test_the_device_sees_its_own_reply(hub: Hub) -> None:
    """mosquitto_rr sends a request and prints what it is answered, and nobody else's replies."""
    product = INVERTER.partition("/")[0]
    channel = command_options(hub, f"{product}/%channel%")
    items = [{"deviceKey": "inv-1", **points(1)}]
    publish(hub, *channel, "-q", "1", "-t", INTEGRATION, "-m", request(1, items, INTEGRATION))
    options = command_options(hub, INVERTER)
    assert json.loads(ask(hub, *options, "-q", "1", "-t", RESUME, "-m", request(2, points(2, 2)))) == {
        "id": "2",
        "code": 200,
        "data": {},
    }
    assert json.loads(ask(hub, *options, "-q", "0", "-t", RESUME, "-m", request(3, points("warm"))))["code"] == 1204
    assert len(hub.points(INVERTER)) == 2


def test_the_printed_credentials_make_a_channel(hub: Hub) -> None:
    """The integration channel of a product posts for its devices."""
    options = command_options(hub, "Sb7PkXyZ/%channel%")
    items = [{"deviceKey": "sub001", **points(1)}, {"deviceKey": "inv-1", **points(2)}]
    with watching(hub, *ALICE, "-t", "/sys/+/integration/#") as watcher:
        done = publish(hub, *options, "-q", "1", "-t", INTEGRATION, "-m", request(1, items, INTEGRATION))
        assert done.returncode == 0
        assert watcher.wait_for_reply("1")["code"] == 200
    assert [(point.value, point.origin) for point in hub.points(SUB_1)] == [(1, "integration")]
    assert [(point.value, point.origin) for point in hub.points(INVERTER)] == [(2, "integration")]


def test_a_file_is_published(hub: Hub, tmp_path: Path) -> None:
    """`-f` sends a file, line breaks and all, on the spelling without the leading slash too."""
    file = tmp_path / "request.json"
    file.write_text(json.dumps(json.loads(request(1, points(1))), indent=4))
    with watching(hub, *ALICE, "-t", "sys/+/+/thing/measurepoint/resume_reply") as watcher:
        assert publish(hub, *ALICE, "-q", "1", "-t", RESUME.removeprefix("/"), "-f", str(file)).returncode == 0
        assert watcher.wait_for_reply("1")["code"] == 200
    assert len(hub.points(INVERTER)) == 1


@pytest.mark.parametrize("qos", ["0", "1"])
def test_a_hundred_lines_are_stored(hub: Hub, qos: str) -> None:
    """`-l` sends a line each, back to back, and disconnects: every one is stored and answered."""
    lines = "".join(f"{request(number, points(number, number))}\n" for number in range(100))
    with watching(hub, *ALICE, "-t", f"{RESUME}_reply") as watcher:
        done = publish(hub, *command_options(hub, INVERTER), "-q", qos, "-t", RESUME, "-l", stdin=lines.encode())
        assert (done.returncode, done.stderr) == (0, b"")
        replies = [json.loads(payload) for _, payload in watcher.wait_for(100)]
    assert {reply["id"]: reply["code"] for reply in replies} == {str(number): 200 for number in range(100)}
    assert [(point.time, point.value) for point in hub.points(INVERTER)] == [(each, each) for each in range(100)]


def test_anonymous_clients_get_in_where_they_may(enos_hub: Callable[..., Hub]) -> None:
    """With `security.anonymous` both programs work without a user name."""
    hub = enos_hub(registry=REGISTRY, settings={"security.anonymous": "true"})
    with watching(hub, "-t", "/sys/#") as watcher:
        assert publish(hub, "-q", "1", "-t", RESUME, "-m", request(1, points(1))).returncode == 0
        assert watcher.wait_for_reply("1")["code"] == 200
    assert len(hub.points(INVERTER)) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 5, b"not authorised"),
        (("-u", "alice", "-P", "guessed"), 4, b"bad user name or password"),
        (("-u", "nobody", "-P", "guessed"), 4, b"bad user name or password"),
        (("-u", "inv-1&Sb7PkXyZ", "-P", "0" * 64), 2, b"identifier rejected"),
        (
            ("-u", "inv-1&Sb7PkXyZ", "-P", "0" * 64, "-i", "x|securemode=2,timestamp=1|"),
            4,
            b"bad user name or password",
        ),
        (
            ("-u", "inv-1&Sb7PkXyZ", "-P", "0" * 64, "-i", "x|securemode=3,timestamp=1|"),
            4,
            b"bad user name or password",
        ),
        (("-u", "inv-1&Sb7PkXyZ", "-P", "0" * 64, "-i", "x|securemode=9,timestamp=1|"), 2, b"identifier rejected"),
    ],
    ids=["anonymous", "password", "operator", "client id", "signature", "activation", "securemode"],
)
def test_who_may_not_is_refused(hub: Hub, arguments: tuple[str, ...], code: int, said: bytes) -> None:
    """mosquitto_pub ends with the code of CONNACK and says what it means; nothing is stored."""
    done = publish(hub, *arguments, "-t", RESUME, "-m", request(1, points(1)))
    assert done.returncode == code, done.stderr
    assert said in done.stderr.lower()
    assert hub.points(INVERTER) == []


def test_an_operator_who_may_only_look_cannot_report(hub: Hub) -> None:
    """What an operator without the scope `write` publishes goes nowhere."""
    bob = ("-u", "bob", "-P", "only-looks")
    with watching(hub, *bob, "-t", "/sys/#") as watcher:
        assert publish(hub, *bob, "-q", "1", "-t", RESUME, "-m", request(1, points(1))).returncode == 0
        publish(hub, *ALICE, "-t", RESUME, "-m", request(2, points(2, 2)))
        watcher.wait_for_reply("2")
        assert len(watcher.messages) == 2
    assert [point.value for point in hub.points(INVERTER)] == [2]
