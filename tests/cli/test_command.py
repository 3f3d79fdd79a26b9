"""`enos-ingest command`: what it asks of a hub, and how it shows the answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.cli.rest_server import RestServer, serving

KEY = "api-key-1"
ID = "434823434234823434"
AT_7 = {"productKey": "EbxGvUrE", "deviceKey": "inv-1"}
STORED: dict[str, Any] = {
    "commandId": ID,
    "orgId": "default",
    **AT_7,
    "assetId": "zBAofs6D4s",
    "createTime": 1700000000000,
    "createLocaltime": "2023-11-14 22:13:20",
    "commandType": 1,
    "commandName": {"defaultValue": "Temperature", "i18nValue": {}},
    "tslIdentifier": "temp",
    "timeout": 30,
    "pendingTtl": 600,
    "state": 7,
    "inputData": 21.5,
    "outputData": None,
    "application": "scada",
    "sendTime": 1700000005000,
    "finishTime": 1700000035000,
    "deviceCode": None,
    "deviceMessage": "",
}


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RestServer]:
    """A server where the configuration of the folder says that the hub is, and an API key in the environment."""
    monkeypatch.setenv("ENOS_INGEST_KEY", KEY)
    # A proxy of the environment, where nobody listens, is for other machines.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with serving() as server:
        (folder / "enos-ingest.toml").write_text(
            f'[http]\nbind = "{server.address}"\n[registry]\norg_id = "o15535059999891"\n'
        )
        yield server


def test_set_asks_for_one_value(run: Command, hub: RestServer) -> None:
    """The call is EnOS's own, with the key of the environment, and the value as it was typed."""
    hub.will_answer({"commandId": ID})
    assert run("command", "set", "EbxGvUrE/inv-1", "temp", "21.50") == (0, f"{ID}  success\n", "")
    (call,) = hub.calls
    assert (call.method, call.path) == ("POST", "/connect-service/v2.1/commands")
    assert call.query == {
        "action": "setMeasurepoint",
        "orgId": "o15535059999891",
        **AT_7,
        "measurepointId": "temp",
        "pendingTtl": "0",
        "timeout": "30",
    }
    assert call.body == b'{"value":21.50}'
    assert call.headers["authorization"] == f"Bearer {KEY}"
    assert call.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("AUTO", '"AUTO"'),
        ("3.0", "3.0"),
        ("-5", "-5"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("true", "true"),
        ("True", '"True"'),
        ('"21"', '"21"'),
        ('{"a": [1, 2]}', '{"a": [1, 2]}'),
        ("NaN", '"NaN"'),
        ("", '""'),
        ("grün", '"grün"'),
        ('say "hi"', '"say \\"hi\\""'),
    ],
)
def test_a_value_is_json_or_else_a_string(run: Command, hub: RestServer, typed: str, sent: str) -> None:
    """JSON goes as it was typed, digit by digit; what is no JSON is one string."""
    hub.will_answer({"commandId": ID})
    assert run("command", "set", "EbxGvUrE/inv-1", "temp", typed).code == 0
    assert hub.calls[0].body.decode() == f'{{"value":{sent}}}'


def test_a_cached_command_says_that_it_waits(run: Command, hub: RestServer) -> None:
    """With --ttl the hub keeps the command; that is no answer of the device yet."""
    hub.will_answer({"commandId": ID})
    done = run("command", "set", "EbxGvUrE/inv-1", "temp", "1", "--ttl", "600", "--timeout", "5")
    assert done == (0, f"{ID}  created  goes out when EbxGvUrE/inv-1 is online, within 600 s\n", "")
    assert (hub.calls[0].query["pendingTtl"], hub.calls[0].query["timeout"]) == ("600", "5")


def test_call_prints_what_the_service_returns(run: Command, hub: RestServer) -> None:
    """Inputs are one JSON object, none where nothing is typed; outputs are shown as JSON."""
    hub.will_answer({"commandId": ID, "outputData": {"passed": True}})
    done = run("command", "call", "EbxGvUrE/inv-1", "selfTest", '{"level": 2}')
    assert done == (0, f'{ID}  success  {{"passed":true}}\n', "")
    assert hub.calls[0].query["action"] == "invokeService"
    assert hub.calls[0].query["serviceId"] == "selfTest"
    assert hub.calls[0].body == b'{"inputData":{"level": 2}}'
    hub.will_answer({"commandId": ID})
    assert run("command", "call", "EbxGvUrE/inv-1", "restart").out == f"{ID}  success\n"
    assert hub.calls[1].body == b'{"inputData":{}}'


def test_get_shows_every_field(run: Command, hub: RestServer) -> None:
    """One field a line, aligned, with the state by its name."""
    hub.will_answer(STORED)
    done = run("command", "get", ID)
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        f"command   {ID}\n"
        "device    EbxGvUrE/inv-1\n"
        "asset     zBAofs6D4s\n"
        "point     temp\n"
        "value     21.5\n"
        "asked by  scada\n"
        "cached    for up to 600 s\n"
        "timeout   30 s\n"
        "state     timed-out\n"
        "created   2023-11-14T22:13:20.000Z\n"
        "sent      2023-11-14T22:13:25.000Z\n"
        "finished  2023-11-14T22:13:55.000Z\n"
    )
    assert (hub.calls[0].method, hub.calls[0].query["commandId"]) == ("GET", ID)
    called = {**STORED, "commandType": 2, "tslIdentifier": "selfTest", "inputData": {"level": 2}, "pendingTtl": 0}
    hub.will_answer({**called, "state": 5, "outputData": {"passed": True}, "sendTime": None})
    shown = run("command", "get", ID).out
    assert 'service   selfTest\ninputs    {"level":2}\n' in shown
    assert "cached    no\n" in shown
    assert "sent" not in shown
    assert shown.endswith('outputs   {"passed":true}\n')
    hub.will_answer({**STORED, "state": 6, "deviceCode": 405, "deviceMessage": "valve \x1b[31mstuck"})
    assert run("command", "get", ID).out.endswith("answer    405 valve \\x1b[31mstuck\n")
    hub.will_answer({"state": 8, "createTime": "2023-11-14"})
    shown = run("command", "get", ID).out
    assert "state     8\n" in shown
    assert 'created   "2023-11-14"\n' in shown


def test_ls_lists_a_line_each(run: Command, hub: RestServer) -> None:
    """By device and by state, fifty where nobody says how many."""
    call = {**STORED, "commandId": "434823434234823433", "commandType": 2, "tslIdentifier": "selfTest", "state": 5}
    hub.will_answer([STORED, {**call, "inputData": {}, "outputData": {"passed": True}}])
    assert run("command", "ls", "EbxGvUrE/inv-1", "--state", "timed-out").out == (
        f"{ID}  2023-11-14T22:13:20.000Z  timed-out  EbxGvUrE/inv-1  temp = 21.5\n"
        '434823434234823433  2023-11-14T22:13:20.000Z  success    EbxGvUrE/inv-1  selfTest {} -> {"passed":true}\n'
    )
    assert hub.calls[0].query == {"action": "search", "orgId": "o15535059999891", **AT_7}
    assert json.loads(hub.calls[0].body) == {"expression": "state = 7", "pagination": {"pageNo": 1, "pageSize": 50}}


def test_ls_turns_pages(run: Command, hub: RestServer) -> None:
    """Beyond what a page holds it asks on; what has moved to the next page meanwhile is shown once."""
    found = [{**STORED, "commandId": str(number)} for number in range(2500)]
    hub.will_answer(found[:1000])
    hub.will_answer(found[999:1999])
    shown = run("command", "ls", "-n", "1500", "--json").out.splitlines()
    assert [json.loads(each)["commandId"] for each in shown] == [str(number) for number in range(1500)]
    assert [json.loads(call.body) for call in hub.calls] == [
        {"pagination": {"pageNo": page, "pageSize": 1000}} for page in (1, 2)
    ]
    hub.will_answer(found[:2])
    assert len(run("command", "ls", "-n", "3").out.splitlines()) == 2
    hub.will_answer([])
    assert run("command", "ls") == (0, "", "")


def test_cancel_shows_what_it_canceled(run: Command, hub: RestServer) -> None:
    """All that wait for a device, or one."""
    hub.will_answer([{**STORED, "state": 2}])
    assert run("command", "cancel", "EbxGvUrE/inv-1", ID).out.split()[:3] == [
        ID,
        "2023-11-14T22:13:20.000Z",
        "canceled",
    ]
    assert hub.calls[0].method == "POST"
    assert hub.calls[0].query == {"action": "cancel", "orgId": "o15535059999891", **AT_7, "commandId": ID}
    hub.will_answer([])
    assert run("command", "cancel", "EbxGvUrE/inv-1") == (0, "", "no command waits for EbxGvUrE/inv-1\n")
    assert "commandId" not in hub.calls[1].query


def test_json_is_what_the_hub_answers(run: Command, hub: RestServer) -> None:
    """`set` and `call` print the envelope, the others one command a line; a refusal is an envelope too."""
    hub.will_answer({"commandId": ID})
    envelope = json.loads(run("command", "set", "EbxGvUrE/inv-1", "temp", "1", "--json").out)
    assert list(envelope) == ["code", "msg", "submsg", "requestId", "data"]
    hub.will_answer(STORED)
    assert json.loads(run("command", "get", ID, "--json").out) == STORED
    for words in (("set", "EbxGvUrE/inv-1", "temp", "1"), ("get", ID), ("ls",), ("cancel", "EbxGvUrE/inv-1")):
        hub.will_answer(None, code=99404, msg="there is no such thing", status=404)
        done = run("command", *words, "--json")
        assert (done.code, json.loads(done.out)["code"]) == (1, 99404)
        assert done.err == "enos-ingest: 99404: there is no such thing\n"


def test_json_does_not_steer_a_terminal(run: Command, hub: RestServer) -> None:
    """What a device said is escaped; a program reads the same."""
    words = {**STORED, "deviceMessage": "\x9b31mred \u202e\x7f\x1b[2J ok ü 温"}
    hub.will_answer(words)
    shown = run("command", "get", ID, "--json").out
    assert shown.removesuffix("\n").isprintable()
    assert "ok ü 温" in shown
    assert json.loads(shown) == words


@pytest.mark.parametrize(
    ("code", "status", "data", "said"),
    [
        (11900, 200, None, "11900: why not"),
        (11915, 200, {"commandId": ID}, f"11915: why not (command {ID})"),
        (11999, 200, {"commandId": ID, "deviceCode": 405}, f"11999: why not (command {ID})"),
        (99400, 400, None, "99400: why not"),
        (99403, 403, None, "99403: why not"),
        (99429, 429, None, "99429: why not"),
        (99500, 500, None, "99500: why not"),
    ],
)
def test_a_refusal_is_code_and_sentence(
    run: Command, hub: RestServer, code: int, status: int, data: Any, said: str
) -> None:
    """Whatever the HTTP status, the envelope's code and text are told, and the exit code is 1."""
    hub.will_answer(data, code=code, msg="why not", status=status)
    assert run("command", "set", "EbxGvUrE/inv-1", "temp", "1") == (1, "", f"enos-ingest: {said}\n")


def test_nothing_is_printed_that_a_terminal_obeys(run: Command, hub: RestServer) -> None:
    """Neither values nor names of a device reach the terminal as commands."""
    hub.will_answer([{**STORED, "tslIdentifier": "a\x1b]0;x\x07", "inputData": "b\x1b[2J\u009b"}])
    shown = run("command", "ls").out
    assert shown.endswith('  a\\x1b]0;x\\x07 = "b\\u001b[2J\\x9b"\n')
    hub.will_answer(None, code=99400, msg="c\x1b[2J", status=400)
    assert run("command", "ls").err == "enos-ingest: 99400: c\\x1b[2J\n"
    hub.will_send(b'{"error": "d\\u001b[2J"}', status=404)
    assert run("command", "ls").err.endswith("serves no commands: HTTP 404: d\\x1b[2J\n")


def test_without_a_key_the_refusal_says_where_one_goes(
    run: Command, hub: RestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has named none is told how; who has, is not."""
    hub.will_answer(None, code=99401, msg="unknown key", status=401)
    assert run("command", "ls").err == "enos-ingest: 99401: unknown key\n"
    monkeypatch.delenv("ENOS_INGEST_KEY")
    hub.will_answer(None, code=99401, msg="credentials are missing", status=401)
    assert run("command", "ls").err == (
        "enos-ingest: 99401: credentials are missing\n"
        "name the file of an application's API key with --key-file, or set ENOS_INGEST_KEY\n"
    )
    assert "authorization" not in hub.calls[1].headers


def test_a_flag_goes_over_the_environment(run: Command, hub: RestServer, folder: Path) -> None:
    """--key, --key-file, --url and --org name another key, hub and organisation."""
    (folder / "key").write_text("of-a-file\n")
    with serving() as other:
        where = ["--url", f"http://{other.address}/hub/", "--org", "o2"]
        for flags, key in ((["--key", "of-a-flag"], "of-a-flag"), (["--key-file", "key"], "of-a-file")):
            other.will_answer([])
            assert run("command", "ls", *where, *flags).code == 0
            assert other.calls[-1].headers["authorization"] == f"Bearer {key}"
            assert other.calls[-1].query["orgId"] == "o2"
            assert other.calls[-1].path == "/hub/connect-service/v2.1/commands"
    assert hub.calls == []
    assert run("command", "ls", "--key", "a", "--key-file", "key").code == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read the API key: No such file or directory"),
        (b"\xff", "cannot read the API key: not UTF-8 text"),
        (b"\n", "there is no API key in it"),
        (b"one\ntwo", "an API key is one line of printable ASCII characters"),
    ],
)
def test_a_key_file_that_is_none(run: Command, hub: RestServer, folder: Path, content: bytes | None, said: str) -> None:
    """One sentence names the file, and never what is in it; nothing is sent."""
    if content is not None:
        (folder / "key").write_bytes(content)
    assert run("command", "ls", "--key-file", "key") == (3, "", f"enos-ingest: key: {said}\n")
    assert hub.calls == []


def test_a_key_that_cannot_be_sent_is_not_shown(run: Command, hub: RestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key with a line break would end a header of HTTP; the sentence does not repeat it."""
    monkeypatch.setenv("ENOS_INGEST_KEY", "secret\nX: y")
    done = run("command", "ls")
    assert done == (3, "", "enos-ingest: $ENOS_INGEST_KEY: an API key is one line of printable ASCII characters\n")
    done = run("command", "ls", "--key", "secret\nX: y")
    assert done.code == 2
    assert "secret" not in done.err
    assert hub.calls == []


def test_a_redirect_is_not_followed(run: Command, hub: RestServer) -> None:
    """The key and the command are for the hub that was named."""
    with serving() as other:
        for status in (301, 302, 307, 308):
            hub.will_send(b"", status=status, Location=f"http://{other.address}/connect-service/v2.1/commands")
            done = run("command", "set", "EbxGvUrE/inv-1", "temp", "1")
            assert (done.code, done.out) == (3, "")
            assert done.err.endswith(f"serves no commands: HTTP {status} without an envelope\n")
        assert other.calls == []


def test_no_hub_is_exit_code_3(run: Command, hub: RestServer, folder: Path) -> None:
    """Nobody listens, somebody who hangs up, somebody else: one sentence each, with the address."""
    done = run("command", "ls")
    assert done.code == 3
    assert done.err.startswith(
        f"enos-ingest: the hub at http://{hub.address} went before it answered: remote end closed"
    )
    done = run("command", "set", "EbxGvUrE/inv-1", "temp", "1")
    assert done.code == 3
    assert done.err.endswith("the command may have been sent: see `enos-ingest command ls EbxGvUrE/inv-1`\n")
    for body in (b"<html>", b"[]", b'{"code": "0", "msg": "x"}', b'{"code": 0}'):
        hub.will_send(body)
        said = f"enos-ingest: what answers at http://{hub.address} serves no commands: HTTP 200 without an envelope\n"
        assert run("command", "ls") == (3, "", said)
    hub.will_answer({"no": "list"})
    assert run("command", "ls").code == 3
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    said = f"enos-ingest: no hub answers at http://127.0.0.1:{port}: connection refused\n"
    assert run("command", "ls", "--url", f"http://127.0.0.1:{port}") == (3, "", said)
    (folder / "enos-ingest.toml").write_text('[http]\nbind = "127.0.0.1:0"\n')
    said = "enos-ingest: http.bind names no port: say with --url where the hub is\n"
    assert run("command", "ls") == (3, "", said)


def test_a_hub_that_listens_everywhere_is_called_here(run: Command, hub: RestServer, folder: Path) -> None:
    """0.0.0.0 is where it listens, and no address to call."""
    port = hub.address.rpartition(":")[2]
    (folder / "enos-ingest.toml").write_text(f'[http]\nbind = "0.0.0.0:{port}"\n')
    hub.will_answer([])
    assert run("command", "ls").code == 0
    assert hub.calls[0].headers["host"] == hub.address


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["set", "inv-1", "temp", "1"], "'inv-1' is not PRODUCT/DEVICE"),
        (["set", "P/d", "", "1"], "POINT: it is empty"),
        (["set", "P/d", "temp"], "VALUE"),
        (["set", "P/d", "temp", "\udcff"], "is not UTF-8 text"),
        (["set", "P/\udcff", "temp", "1"], "is not UTF-8 text"),
        (["set", "P/d", "temp", "1", "--ttl", "172801"], "'172801' is not a whole number of seconds from 0 to 172800"),
        (["set", "P/d", "temp", "1", "--ttl", "1.5"], "'1.5' is not a whole number of seconds"),
        (["set", "P/d", "temp", "1", "--timeout", "0"], "'0' is not a whole number of seconds from 1 to 60"),
        (["call", "P/d", "reset", "[1]"], "'[1]' is no JSON object"),
        (["call", "P/d", "reset", "{"], "'{' is no JSON object"),
        (["ls", "--state", "lost"], "invalid choice: 'lost'"),
        (["ls", "-n", "0"], "'0' is not a number from 1 on"),
        (["ls", "--url", "127.0.0.1:8080"], "expected an address such as http://127.0.0.1:8080"),
        (["ls", "--url", "ftp://h"], "expected an address such as http://127.0.0.1:8080"),
        (["ls", "--url", "http://user:word@h"], "without a user"),
        (["ls", "--url", "http://h:x"], "expected an address"),
        (["get"], "ID"),
        (["cancel"], "PRODUCT/DEVICE"),
    ],
)
def test_wrong_usage(run: Command, hub: RestServer, words: list[str], said: str) -> None:
    """What cannot be meant ends with 2, and nothing is sent."""
    done = run("command", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err.replace("\\udcff", "\udcff")
    assert hub.calls == []
