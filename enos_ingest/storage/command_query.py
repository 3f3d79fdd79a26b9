"""A search for commands as SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from enos_ingest.commands.search import Comparison, Condition, Search

__all__ = ["Query", "to_sql"]

_Parameters: TypeAlias = tuple[int | str, ...]

_COLUMNS: Mapping[str, str] = {
    "commandId": "id",
    "commandType": "kind",
    "createTime": "created",
    "deviceKey": "device_key",
    "productKey": "product_key",
    "state": "state",
    "tslIdentifier": "identifier",
}

# As a StringI18n is read: where there is no text in a language, the default one stands for it.
_NAME = "coalesce(json_extract(name, '$.defaultValue'), '')"
_LOCAL_NAME = f"coalesce(json_extract(name, ?), {_NAME})"


class Query(NamedTuple):
    """What stands after WHERE and after ORDER BY, and the values of the question marks in the first."""

    conditions: str
    order: str
    parameters: _Parameters


def to_sql(search: Search) -> Query:
    """The search without its page; nothing that a caller wrote is in the texts."""
    conditions, parameters = _condition(search.condition) if search.condition else ("true", ())
    if search.device is not None:
        conditions = f"product_key = ? AND device_key = ? AND ({conditions})"
        parameters = (*search.device, *parameters)
    orders = [(_COLUMNS[each.field], each.descending) for each in search.sorters]
    if all(column != "id" for column, _ in orders):
        # Without it commands of one millisecond could change places between two pages.
        orders.append(("id", orders[-1][1]))
    order = ", ".join(f"{column} {'DESC' if descending else 'ASC'}" for column, descending in orders)
    return Query(conditions, order, parameters)


def _condition(condition: Condition) -> tuple[str, _Parameters]:
    if isinstance(condition, Comparison):
        return _comparison(condition)
    parts = [_condition(part) for part in condition.parts]
    text = f" {condition.operator.upper()} ".join(part for part, _ in parts)
    return f"({text})", tuple(value for _, values in parts for value in values)


def _comparison(comparison: Comparison) -> tuple[str, _Parameters]:
    parameters: _Parameters = comparison.values
    if comparison.field != "commandName":
        column = _COLUMNS[comparison.field]
    elif comparison.locale:
        column, parameters = _LOCAL_NAME, (f'$.i18nValue."{comparison.locale}"', *parameters)
    else:
        column = _NAME
    places = f"({', '.join('?' * len(comparison.values))})" if comparison.operator == "in" else "?"
    return f"{column} {comparison.operator.upper()} {places}", parameters
