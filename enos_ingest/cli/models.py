"""`enos-ingest models`: thing models and the JSON Schemas made of them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import orjson

from enos_ingest.cli.options import Commands, add_command, settings
from enos_ingest.errors import ModelError
from enos_ingest.models.catalogue import Catalogue, load_model_file
from enos_ingest.models.document import ThingModel

__all__ = ["add_commands", "contents"]


def add_commands(commands: Commands) -> None:
    """Declare the commands."""
    group = commands.add_parser("models", help="thing models")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    parser = add_command(actions, "ls", "list the thing models of the models folder")
    parser.set_defaults(run=_ls)
    parser = add_command(actions, "check", "say whether files are usable thing models, and what is in them")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.set_defaults(run=_check)
    parser = add_command(actions, "schema", "print the JSON Schema that values of a thing model must match")
    parser.add_argument("model", metavar="MODEL", help="a modelId")
    parser.set_defaults(run=_schema)


def _ls(options: argparse.Namespace) -> int:
    folder, samples = settings(options).models_folder()
    models = Catalogue.load(folder).models()
    width = max(len(compiled.model.model_id) for compiled in models)
    for compiled in models:
        model = compiled.model
        count = len(model.measurepoints)
        print(f"{model.model_id:<{width}}  {count:>4} measurement point{'s' if count != 1 else ' '}  {model.name}")
    if samples:
        print("(the packaged samples: there is no models folder here)", file=sys.stderr)
    return 0


def _check(options: argparse.Namespace) -> int:
    code = 0
    for file in options.files:
        try:
            model = load_model_file(file).model
        except ModelError as error:
            print(f"enos-ingest: {error}", file=sys.stderr)
            code = 1
        else:
            print(f"{file}: {model.model_id}, {contents(model)}")
    return code


def contents(model: ThingModel) -> str:
    """How much was read of each kind: a kind that is misspelt, or stands where it is not looked for, counts 0."""
    writable = sum(point.writable for point in model.measurepoints.values())
    counts = (
        (len(model.services), "service"),
        (len(model.attributes), "attribute"),
        (len(model.events), "event"),
    )
    others = ", ".join(_count(count, noun) for count, noun in counts)
    return f"{_count(len(model.measurepoints), 'measurement point')} ({writable} writable), {others}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _schema(options: argparse.Namespace) -> int:
    catalogue = Catalogue.load(settings(options).models_folder()[0])
    compiled = catalogue.get(options.model)
    if compiled is None:
        known = ", ".join(item.model.model_id for item in catalogue.models())
        raise ModelError(options.model, f"no such thing model (there are: {known})")
    print(orjson.dumps(compiled.schema, option=orjson.OPT_INDENT_2).decode())
    return 0
