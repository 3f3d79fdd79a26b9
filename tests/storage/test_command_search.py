"""Searching commands: what is found, in which order, how fast, and what is given up."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from enos_ingest.commands.command import Command, Kind, State
from enos_ingest.commands.refusals import CommandRefusal, RestCode
from enos_ingest.commands.search import Combination, Comparison, Condition, Search, Sorter, parse_search
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage import commands as commands_module
from enos_ingest.storage.command_query import to_sql
from enos_ingest.storage.command_rows import size, to_row
from enos_ingest.storage.commands import SqliteCommands
from enos_ingest.storage.sqlite import connect_writer
from tests.storage.commands_made import finished, save
from tests.storage.samples import command, commit, open_writer, ordered


def found(path: Path, expression: str = "", **pagination: Any) -> list[int]:
    """The numbers of the commands that a search finds, in its order."""
    with SqliteCommands(path) as commands:
        page, total = commands.search(parse_search({"expression": expression, "pagination": pagination}))
    assert total >= len(page)
    return [int(each.id) - 10**17 for each in page]


def test_the_newest_come_first(tmp_path: Path) -> None:
    """By the time of their making; of one time, by their id."""
    path = tmp_path / "x.db"
    save(path, [command(1, created=5), command(2, created=9), command(3, created=5), command(4, created=7)])
    assert found(path) == [2, 4, 3, 1]
    assert found(path, sorters=[{"field": "createTime", "order": "ASC"}]) == [1, 3, 4, 2]
    assert found(path, sorters=[{"field": "commandId", "order": "DESC"}]) == [4, 3, 2, 1]


def test_pages_are_cut_and_counted(tmp_path: Path) -> None:
    """Every command is on one page; a page beyond the last is empty, and says how many there are."""
    path = tmp_path / "x.db"
    save(path, [command(number, created=number // 3) for number in range(1, 8)])
    assert [found(path, pageNo=page, pageSize=3) for page in (1, 2, 3, 4)] == [[7, 6, 5], [4, 3, 2], [1], []]
    with SqliteCommands(path) as commands:
        page, total = commands.search(Search(page=10**9, page_size=1000))
        assert (page, total) == ([], 7)
        assert commands.search(Search(page_size=2))[1] == 7
        assert commands.search(Search(page_size=2))[0][0] == command(7, created=2)


def test_names_are_looked_for_in_the_words_of_the_model(tmp_path: Path) -> None:
    """In one language, the default name standing in where there is none; a command without names has an empty one."""
    path = tmp_path / "x.db"
    save(
        path,
        [
            command(1, name={"defaultValue": "Limit power", "i18nValue": {"zh_CN": "限制功率"}}),
            command(2, name={"defaultValue": "Restart", "i18nValue": {"en_US": "Power off and on"}}),
            command(3),
            command(4, name={"defaultValue": "", "i18nValue": {}}),
        ],
    )
    assert found(path, "commandName.en_US like '%POWER%'") == [2, 1]
    assert found(path, "commandName.zh_CN like '限%'") == [1]
    assert found(path, "commandName.zh_CN = 'Restart'") == [2]
    assert found(path, "commandName like '%power%'") == [1]
    assert found(path, "commandName.default in ('Restart', '')") == [4, 3, 2]
    assert found(path, "commandName != ''") == [2, 1]
    assert found(path, "commandName like 'Limit_power'") == [1]


def test_a_device_is_looked_for_with_any_expression(tmp_path: Path) -> None:
    """The device that the call names holds for the whole expression, an `or` in it included."""
    path = tmp_path / "x.db"
    other = DeviceId("EbxGvUrE", "other")
    save(
        path,
        [command(1), command(2, device=other), finished(3, at=3, device=other), finished(4, at=4, state=State.FAILED)],
    )
    with SqliteCommands(path) as commands:
        for expression, numbers in [("", [3, 2]), ("state = 5 or state = 6", [3]), ("state != 5", [2])]:
            page, total = commands.search(parse_search({"expression": expression}, other))
            assert [int(each.id) - 10**17 for each in page] == numbers
            assert total == len(numbers)
    assert found(path, "deviceKey = 'other' and productKey = 'EbxGvUrE'") == [3, 2]


@pytest.mark.parametrize("text", ["'", "''", "\"'; DROP TABLE commands; --", "%", "\0", "?", ":a", "$.x"])
def test_what_a_caller_writes_is_never_part_of_the_statement(tmp_path: Path, text: str) -> None:
    """Any text is looked for as it is."""
    path = tmp_path / "x.db"
    save(path, [command(1), command(2, identifier=text)])
    quoted = text.replace("'", "''")
    assert found(path, f"tslIdentifier = '{quoted}'") == [2]
    assert found(path, f"tslIdentifier in ('x', '{quoted}')") == [2]
    assert found(path) == [2, 1]


def test_a_search_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller is told what to do, and the next search is served."""
    path = tmp_path / "x.db"
    save(path, [command(number) for number in range(1, 200)])
    with SqliteCommands(path) as commands:
        with monkeypatch.context() as patch:
            patch.setattr(commands_module, "SEARCH_SECONDS", 0.0)
            patch.setattr(commands_module, "SEARCH_STEPS", 100)
            with pytest.raises(CommandRefusal, match="took more than 0 seconds: narrow it by createTime") as caught:
                commands.search(parse_search({"expression": "commandName like '%x%'"}))
        assert caught.value.code is RestCode.BAD_ARGUMENT
        assert commands.search(Search(page_size=1)) == ([command(199)], 199)


def test_a_page_that_holds_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fill the memory; by smaller pages all is found, a command that is longer than a page may be, too."""
    path = tmp_path / "x.db"
    save(path, [command(number, input="x" * 1000) for number in (1, 2)])
    with SqliteCommands(path) as commands:
        monkeypatch.setattr(commands_module, "SEARCH_BYTES", 1500)
        with pytest.raises(CommandRefusal, match="hold more than 1500 bytes: ask for a smaller pageSize") as caught:
            commands.search(Search())
        assert caught.value.code is RestCode.BAD_ARGUMENT
        monkeypatch.setattr(commands_module, "SEARCH_BYTES", 10)
        assert commands.search(Search(page_size=1)) == ([command(2, input="x" * 1000)], 2)


@pytest.mark.parametrize(
    ("expression", "device", "index"),
    [
        ("", False, "commands_created"),
        ("state = 1", False, "commands_state"),
        ("state = 5 and createTime >= 1700000000000", False, "commands_state"),
        ("createTime >= 1700000000000 and createTime < 1800000000000", False, "commands_created"),
        ("", True, "commands_device"),
        ("state = 5", True, None),
        ("deviceKey = 'gw-1' and productKey = 'EbxGvUrE'", False, "commands_device"),
        ("commandId = 100000000000000001", False, "INTEGER PRIMARY KEY"),
    ],
)
def test_a_search_seeks(tmp_path: Path, expression: str, device: bool, index: str | None) -> None:
    """What is documented to be looked for is found by an index, already in order: nothing is sorted."""
    path = tmp_path / "x.db"
    search = parse_search({"expression": expression}, DeviceId("EbxGvUrE", "gw-1") if device else None)
    conditions, order, parameters = to_sql(search)
    with closing(connect_writer(path)) as connection:
        query = f"EXPLAIN QUERY PLAN SELECT payload FROM commands WHERE {conditions} ORDER BY {order}"  # noqa: S608 - ours
        steps = [step[3] for step in connection.execute(query, parameters)]
    assert len(steps) == 1, steps
    assert (index or "INDEX commands_") in steps[0]
    assert steps[0].startswith("SEARCH commands") == bool(parameters)


# ------------------------------------------------------------------------------- against a plain dict, by hand

_MEMBERS: Mapping[str, Callable[[Command], Any]] = {
    "state": lambda each: each.state,
    "createTime": lambda each: each.created,
    "commandId": lambda each: int(each.id),
    "commandType": lambda each: each.kind,
    "deviceKey": lambda each: each.device.device_key,
    "tslIdentifier": lambda each: each.identifier,
}

_HOLDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
}


def holds(condition: Condition | None, command: Command) -> bool:
    """What a condition means."""
    match condition:
        case None:
            return True
        case Combination(operator="and", parts=parts):
            return all(holds(part, command) for part in parts)
        case Combination(parts=parts):
            return any(holds(part, command) for part in parts)
        case Comparison(operator="in"):
            return _MEMBERS[condition.field](command) in condition.values
        case _:
            return _HOLDS[condition.operator](_MEMBERS[condition.field](command), condition.values[0])


numbers = st.builds(
    lambda field, operator, values: Comparison(field, operator, tuple(values) if operator == "in" else (values[0],)),
    st.sampled_from(["state", "createTime", "commandType"]),
    st.sampled_from([*_HOLDS, "in"]),
    st.lists(st.integers(0, 8), min_size=1, max_size=3),
)
texts = st.builds(
    lambda field, operator, value: Comparison(field, operator, (value,)),
    st.sampled_from(["deviceKey", "tslIdentifier"]),
    st.sampled_from(["=", "!=", "in"]),
    st.sampled_from(["a", "b", "A"]),
)
conditions: st.SearchStrategy[Condition] = st.recursive(
    numbers | texts,
    lambda parts: st.builds(
        lambda operator, parts: Combination(operator, tuple(parts)),
        st.sampled_from(["and", "or"]),
        st.lists(parts, min_size=2, max_size=3),
    ),
    max_leaves=5,
)
sorters = st.lists(
    st.builds(Sorter, st.sampled_from(["createTime", "state", "commandId"]), st.booleans()), min_size=1, max_size=3
).map(tuple)


class CommandsOnDisk(RuleBasedStateMachine):
    """The database beside a dict: whatever is stored, sent, finished, deleted and asked, they say the same."""

    def __init__(self) -> None:
        super().__init__()
        self.expected: dict[str, Command] = {}
        self.numbers = count(1)
        self.path = next(self.paths)
        self.runner = asyncio.Runner()

    paths: Any = None

    @initialize()
    def start(self) -> None:
        async def open_one() -> None:
            self.context = open_writer(self.path)
            self.writer = await self.context.__aenter__()

        self.runner.run(open_one())
        self.commands = SqliteCommands(self.path)

    def put(self, *commands: Command) -> None:
        """Store commands in one commit, or a few."""

        async def run() -> None:
            await asyncio.gather(*[commit(self.writer, ordered(each)) for each in commands])

        self.runner.run(run())
        self.expected.update({each.id: each for each in commands})

    @rule(
        times=st.lists(st.integers(0, 8), min_size=1, max_size=4),
        key=st.sampled_from("ab"),
        identifier=st.sampled_from(["a", "A", "b"]),
        kind=st.sampled_from(Kind),
    )
    def make(self, times: list[int], key: str, identifier: str, kind: Kind) -> None:
        self.put(
            *[
                command(next(self.numbers), created=time, device=DeviceId("p", key), identifier=identifier, kind=kind)
                for time in times
            ]
        )

    @rule(data=st.data(), time=st.integers(0, 8))
    def send(self, data: st.DataObject, time: int) -> None:
        created = [each for each in self.expected.values() if each.state is State.CREATED]
        if created:
            chosen = data.draw(st.lists(st.sampled_from(created), min_size=1, max_size=3, unique_by=id))
            self.put(*[replace(each, state=State.RELEASED, sent=time) for each in chosen])

    @rule(data=st.data(), time=st.integers(0, 8), state=st.sampled_from([each for each in State if each.is_final]))
    def finish(self, data: st.DataObject, time: int, state: State) -> None:
        open_ones = [each for each in self.expected.values() if not each.state.is_final]
        if open_ones:
            chosen = data.draw(st.sampled_from(open_ones))
            # Both steps in one commit: the later one stays.
            self.put(replace(chosen, state=State.RELEASED, sent=time), replace(chosen, state=state, finished=time))

    @rule(before=st.integers(0, 8), keep=st.integers(0, 8), keep_bytes=st.integers(0, 8).map(lambda few: 130 * few))
    def purge(self, before: int, keep: int, keep_bytes: int) -> None:
        finals = sorted(
            (each for each in self.expected.values() if each.finished is not None),
            key=lambda each: (each.finished or 0, each.id),
        )
        left = [each for each in finals if (each.finished or 0) >= before]
        left = left[max(len(left) - keep, 0) :]
        while sum(size(to_row(each)) for each in left) > keep_bytes:
            del left[0]
        for each in finals:
            if each not in left:
                del self.expected[each.id]
        assert self.commands.purge(before, keep, keep_bytes) == len(finals) - len(left)

    @rule(
        condition=st.none() | conditions,
        sorters=sorters,
        page=st.integers(1, 3),
        size=st.integers(1, 5),
        device=st.none() | st.sampled_from([DeviceId("p", "a"), DeviceId("p", "b"), DeviceId("q", "a")]),
    )
    def search(
        self, condition: Condition | None, sorters: tuple[Sorter, ...], page: int, size: int, device: DeviceId | None
    ) -> None:
        search = Search(condition, page, size, sorters, device=device)
        wanted = [
            each
            for each in self.expected.values()
            if holds(condition, each) and (device is None or each.device == device)
        ]
        wanted.sort(key=lambda each: each.id, reverse=sorters[-1].descending)
        for sorter in reversed(sorters):
            wanted.sort(key=_MEMBERS[sorter.field], reverse=sorter.descending)
        assert self.commands.search(search) == (wanted[(page - 1) * size : page * size], len(wanted))

    @invariant()
    def agrees(self) -> None:
        unfinished = sorted(
            (each for each in self.expected.values() if not each.state.is_final), key=lambda each: each.id
        )
        assert self.commands.unfinished() == unfinished
        assert self.commands.last_id() == max(map(int, self.expected), default=0)
        for each in self.expected.values():
            assert self.commands.get(each.id) == each

    def teardown(self) -> None:
        self.commands.close()

        async def close() -> None:
            await self.context.__aexit__(None, None, None)

        self.runner.run(close())
        self.runner.close()


def test_the_database_agrees_with_a_dict(tmp_path: Path) -> None:
    """Random steps, many times over."""
    CommandsOnDisk.paths = (tmp_path / f"{number}.db" for number in count())
    run_state_machine_as_test(
        CommandsOnDisk,
        settings=settings(
            max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_an_unreadable_database_is_no_refusal(tmp_path: Path) -> None:
    """What is the store's fault is not laid at the caller's door."""
    path = tmp_path / "x.db"
    save(path, [command(1)])
    with SqliteCommands(path) as commands:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DROP TABLE commands")
        with pytest.raises(Exception, match="no such table"):
            commands.search(Search())
