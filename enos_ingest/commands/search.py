"""What `action=search` asks for: an expression, a page, an order, some members of each command.

    expression := conjunction ("or" conjunction)*
    conjunction := part ("and" part)*
    part := "(" expression ")" | FIELD ("=" | "!=" | ">" | ">=" | "<" | "<=") VALUE
          | FIELD "in" "(" VALUE ("," VALUE)* ")" | FIELD "like" TEXT

A text stands in single or double quotes, which are doubled within it. In a `like`, `%` is any text and `_` any
character, and small letters of ASCII are the same as capital ones.
EnOS documents `state`, `commandName.<locale>` and `createTime`; the other fields are ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple, NoReturn, TypeAlias

from enos_ingest.commands.refusals import CommandRefusal, RestCode
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.schema import shorten

__all__ = [
    "DEFAULT_PAGE_SIZE",
    "MAX_PAGE_SIZE",
    "MEMBERS",
    "Combination",
    "Comparison",
    "Condition",
    "Operator",
    "Search",
    "Sorter",
    "parse_search",
]

Operator: TypeAlias = Literal["=", "!=", ">", ">=", "<", "<=", "in", "like"]

DEFAULT_PAGE_SIZE: Final = 100
MAX_PAGE_SIZE: Final = 1000
MAX_PAGE: Final = 10**9
"""The last page that may be asked for: no database of ours has so many commands."""

MAX_CHARACTERS: Final = 4000
"""Of an expression."""

MAX_COMPARISONS: Final = 20
"""In an expression: each is tried on every command that the others leave."""

MAX_CHOICES: Final = 100
"""Values in the brackets of `in`."""

MAX_DEPTH: Final = 10
"""Brackets within brackets."""

MAX_SORTERS: Final = 3

_NUMBERS = ("commandId", "commandType", "createTime", "state")
_TEXTS = ("commandName", "deviceKey", "productKey", "tslIdentifier")
_SORTED = ("commandId", "createTime", "state")

MEMBERS: Final = (
    "commandId", "orgId", "productKey", "deviceKey", "assetId", "createTime", "createLocaltime", "commandType",
    "commandName", "tslIdentifier", "timeout", "pendingTtl", "state", "inputData", "outputData",
    "application", "sendTime", "finishTime", "deviceCode", "deviceMessage",
)  # fmt: skip
"""Of a command, as the REST API shows it; the last five are ours."""

_SPELLINGS: Mapping[str, str] = {"createLocalTime": "createLocaltime"}
"""The documents have both."""

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>-?[0-9]{1,18}(?![\w.]))
      | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
      | (?P<word>[A-Za-z][A-Za-z0-9_.-]*)
      | (?P<sign>>=|<=|!=|<>|==|[=<>(),])
    )""",
    re.VERBOSE,
)

_LOCALE = re.compile(r"[A-Za-z0-9_-]{1,20}")

_DIGITS = re.compile(r"-?[0-9]{1,18}")

_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)

_OPERATORS: Mapping[str, Operator] = {
    "=": "=", "==": "=", "!=": "!=", "<>": "!=", ">": ">", ">=": ">=", "<": "<", "<=": "<=", "in": "in", "like": "like",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field, and what it is compared with: one value, or several for `in`.

    The values of commandId, commandType, createTime and state are integers, those of the other fields texts. `locale`
    says which of a commandName's texts is meant, "" for the default one.
    """

    field: str
    operator: Operator
    values: tuple[int | str, ...]
    locale: str = ""


@dataclass(frozen=True, slots=True)
class Combination:
    """Two conditions or more that must hold all (`and`), or one of them (`or`)."""

    operator: Literal["and", "or"]
    parts: tuple[Condition, ...]


Condition: TypeAlias = Comparison | Combination


@dataclass(frozen=True, slots=True)
class Sorter:
    """A member to sort by: commandId, createTime or state."""

    field: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for; the newest commands come first unless `sorters` say otherwise.

    Attributes:
        device: whose commands, None for those of all.
        projection: the members that are asked for, none for all of them.
    """

    condition: Condition | None = None
    page: int = 1
    page_size: int = DEFAULT_PAGE_SIZE
    sorters: tuple[Sorter, ...] = (Sorter("createTime", descending=True),)
    projection: tuple[str, ...] = ()
    device: DeviceId | None = None

    def pagination(self, total: int) -> dict[str, Any]:
        """`pagination` of the answer, when there are `total` commands on all pages."""
        return {
            "pageNo": self.page,
            "pageSize": self.page_size,
            "totalSize": total,
            "sortedBy": [{"field": each.field, "order": "DESC" if each.descending else "ASC"} for each in self.sorters],
        }

    def project(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Of a command as the REST API shows it the members that are asked for."""
        return {name: value for name, value in command.items() if not self.projection or name in self.projection}


def parse_search(body: object, device: DeviceId | None = None) -> Search:
    """Read the body of a search; an empty object asks for everything, the newest first.

    Raises:
        CommandRefusal: BAD_ARGUMENT, with the first fault in a sentence.
    """
    members = _members("body", body, ("expression", "pagination", "projection"))
    pagination = _members("pagination", members.get("pagination"), ("pageNo", "pageSize", "sorters"))
    expression = members.get("expression")
    if not isinstance(expression, str | None):
        _refuse("expression: expected a text")
    default = Search()
    return Search(
        _Parser(expression).whole() if expression and not expression.isspace() else None,
        _number("pagination.pageNo", pagination.get("pageNo"), default.page, MAX_PAGE),
        _number("pagination.pageSize", pagination.get("pageSize"), default.page_size, MAX_PAGE_SIZE),
        _sorters(pagination.get("sorters")) or default.sorters,
        _projection(members.get("projection")),
        device,
    )


def _members(what: str, value: object, known: tuple[str, ...]) -> Mapping[str, Any]:
    """The members of an object that are given; null stands for none."""
    if not isinstance(value, dict | None):
        _refuse(f"{what}: expected an object")
    for name, member in (value or {}).items():
        # A misspelt filter that is passed over would give an answer to another question.
        if name not in known and member is not None:
            _refuse(f"{what}: {shorten(name)} is unknown, there are {', '.join(known)}")
    return value or {}


def _number(what: str, value: object, default: int, most: int) -> int:
    if value is None:
        return default
    if type(value) is not int or not 1 <= value <= most:
        _refuse(f"{what}: expected a whole number from 1 to {most}")
    return value


def _sorters(value: object) -> tuple[Sorter, ...]:
    if not isinstance(value, list | None) or len(value or ()) > MAX_SORTERS:
        _refuse(f"pagination.sorters: expected a list of at most {MAX_SORTERS}")
    found = []
    for index, entry in enumerate(value or ()):
        what = f"pagination.sorters[{index}]"
        sorter = _members(what, entry, ("field", "order"))
        field, order = sorter.get("field"), sorter.get("order")
        if field not in _SORTED:
            _refuse(f"{what}.field: expected one of {', '.join(_SORTED)}")
        if order is not None and (not isinstance(order, str) or order.upper() not in {"ASC", "DESC"}):
            _refuse(f"{what}.order: expected ASC or DESC")
        found.append(Sorter(field, descending=(order or "").upper() == "DESC"))
    return tuple(found)


def _projection(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | None) or len(value or ()) > len(MEMBERS):
        _refuse(f"projection: expected a list of at most {len(MEMBERS)}")
    names = [_SPELLINGS.get(name, name) if isinstance(name, str) else name for name in value or ()]
    for index, name in enumerate(names):
        if name not in MEMBERS:
            _refuse(f"projection[{index}]: expected one of {', '.join(MEMBERS)}")
    return tuple(names)


class _Token(NamedTuple):
    """A piece of an expression; `kind` is a group of `_TOKEN`, or `end`."""

    kind: str
    text: str


class _Parser:
    """Reads one expression, once."""

    def __init__(self, expression: str) -> None:
        if len(expression) > MAX_CHARACTERS:
            _refuse(f"expression: more than {MAX_CHARACTERS} characters")
        self._tokens = _tokens(expression)
        self._at = 0
        self._comparisons = 0
        self._depth = 0

    def whole(self) -> Condition:
        """The condition that the expression is."""
        condition = self._any()
        if self._token.kind != "end":
            self._expected("and, or, or the end")
        return condition

    @property
    def _token(self) -> _Token:
        return self._tokens[self._at]

    def _any(self) -> Condition:
        parts = [self._all()]
        while self._takes("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Combination("or", tuple(parts))

    def _all(self) -> Condition:
        parts = [self._part()]
        while self._takes("and"):
            parts.append(self._part())
        return parts[0] if len(parts) == 1 else Combination("and", tuple(parts))

    def _part(self) -> Condition:
        if not self._takes("("):
            return self._comparison()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            _refuse(f"expression: brackets more than {MAX_DEPTH} deep")
        condition = self._any()
        self._depth -= 1
        self._demand(")")
        return condition

    def _comparison(self) -> Comparison:
        self._comparisons += 1
        if self._comparisons > MAX_COMPARISONS:
            _refuse(f"expression: more than {MAX_COMPARISONS} comparisons")
        field, locale = self._field()
        operator = self._operator(field)
        if operator != "in":
            return Comparison(field, operator, (self._value(field),), locale)
        self._demand("(")
        values = [self._value(field)]
        while self._takes(","):
            values.append(self._value(field))
        self._demand(")")
        if len(values) > MAX_CHOICES:
            _refuse(f"expression: more than {MAX_CHOICES} values in the brackets of in")
        return Comparison(field, operator, tuple(values), locale)

    def _field(self) -> tuple[str, str]:
        field, dot, locale = self._token.text.partition(".")
        if self._token.kind != "word" or field not in (*_NUMBERS, *_TEXTS):
            self._expected(f"a field, one of {', '.join(sorted((*_NUMBERS, *_TEXTS)))}")
        if dot and (field != "commandName" or not _LOCALE.fullmatch(locale)):
            self._expected("a field; only commandName has a locale, such as commandName.en_US")
        self._at += 1
        # So is the default name called where all of them stand.
        return field, "" if locale == "default" else locale

    def _operator(self, field: str) -> Operator:
        operator = _OPERATORS.get(self._token.text.lower()) if self._token.kind in {"sign", "word"} else None
        if operator is None:
            self._expected("=, !=, >, >=, <, <=, in or like")
        if field in _NUMBERS and operator == "like":
            _refuse(f"expression: {field} is a number, which like does not take")
        if field in _TEXTS and operator not in {"=", "!=", "in", "like"}:
            _refuse(f"expression: {field} is a text, which {operator} does not take")
        self._at += 1
        return operator

    def _value(self, field: str) -> int | str:
        kind, text = self._token
        if kind == "text":
            text = text[1:-1].replace(text[0] * 2, text[0])
        if field in _NUMBERS:
            # Some clients quote all their values.
            value = _whole_number(field, text) if kind in {"number", "text"} else None
            if value is None:
                also = ", or a text such as '2026-11-21 08:00:00'" if field == "createTime" else ""
                self._expected(f"a whole number for {field}{also}")
            self._at += 1
            return value
        if kind != "text":
            self._expected(f"a text in quotes for {field}")
        self._at += 1
        return text

    def _takes(self, text: str) -> bool:
        """Whether this word or sign comes next; it is passed then."""
        token = self._token
        if token.kind not in {"word", "sign"} or token.text.lower() != text:
            return False
        self._at += 1
        return True

    def _demand(self, sign: str) -> None:
        if not self._takes(sign):
            self._expected(sign)

    def _expected(self, what: str) -> NoReturn:
        found = "the end" if self._token.kind == "end" else shorten(self._token.text)
        _refuse(f"expression: expected {what}, found {found}")


def _whole_number(field: str, text: str) -> int | None:
    """The value of a number's field; a time may be written as EnOS does, in UTC where it names no zone."""
    if _DIGITS.fullmatch(text):
        return int(text)
    if field != "createTime" or not _TIME.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def _tokens(expression: str) -> list[_Token]:
    try:
        expression.encode()
    except UnicodeEncodeError:
        _refuse("expression: holds half a surrogate pair, which is no character")
    tokens = []
    at, end = 0, len(expression.rstrip())
    while at < end:
        match = _TOKEN.match(expression, at)
        if match is None:
            _refuse(f"expression: cannot be read from {shorten(expression[at:].strip())}")
        tokens.append(_Token(str(match.lastgroup), match[str(match.lastgroup)]))
        at = match.end()
    return [*tokens, _Token("end", "")]


def _refuse(sentence: str) -> NoReturn:
    raise CommandRefusal(RestCode.BAD_ARGUMENT, sentence)
