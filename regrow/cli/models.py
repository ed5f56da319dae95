"""`regrow models`, `promote` and `predict`: versions, the alias that serves, and answers."""

from __future__ import annotations

import csv
import json as jsonlib
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from regrow import names
from regrow.cli import output, rowfiles
from regrow.cli.options import Filter, Json, Mistake, Most, OrderBy, Project, connect, pairs
from regrow.client import Client
from regrow.gateway.v1 import gateway_pb2
from regrow.paging import iterate
from regrow.registry.v1 import registry_pb2

BATCH = 1000


class Format(StrEnum):
    """How predictions are printed."""

    table = "table"
    json = "json"
    csv = "csv"


def list_models(
    model: Annotated[str, typer.Argument(help="Show the versions of this model; none: list the models.")] = "",
    filter: Filter = "",
    order_by: OrderBy = "",
    limit: Most = 50,
    project: Project = "default",
    json: Json = False,
) -> None:
    """List models, or the versions and aliases of one."""
    with connect(project) as client:
        read = partial(_versions, client, model) if model else partial(_models, client)
        found = read(limit, filter, order_by)
        aliases = _aliases(client, client.name("models", model)) if model else {}
    if json:
        return output.show_json(found)
    if model:
        columns: tuple[str, ...] = ("version", "aliases", "scores", "run", "registered")
        return output.table("", columns, [_version_row(one, aliases.get(one.name, [])) for one in found])
    columns = ("model", "versions", "aliases", "description")
    output.table("", columns, [_model_row(one) for one in found], numbers=("versions",))


def _model_row(model: registry_pb2.Model) -> tuple[object, ...]:
    aliases = [f"{_last(alias.name)} -> {_last(alias.version)}" for alias in model.aliases]
    return names.short(model.name), model.latest_version, ", ".join(aliases), model.description


def _version_row(version: registry_pb2.Version, aliases: list[str]) -> tuple[object, ...]:
    scores = "; ".join(f"{metric} {value:.3f}" for metric, value in sorted(version.scores.items()))
    run = names.short(version.run) if version.run else ""
    return names.short(version.name), ", ".join(aliases), scores, run, output.when(version.create_time)


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _models(client: Client, limit: int, filter: str, order_by: str) -> list[Any]:
    request = registry_pb2.ListModelsRequest(parent=f"projects/{client.project}", filter=filter, order_by=order_by)
    return list(islice(client.models.ListModels.each(request), limit))


def _versions(client: Client, model: str, limit: int, filter: str, order_by: str) -> list[Any]:
    request = registry_pb2.ListVersionsRequest(parent=client.name("models", model), filter=filter, order_by=order_by)
    return list(islice(client.versions.ListVersions.each(request), limit))


def _aliases(client: Client, model: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for alias in iterate(client.aliases.ListAliases, registry_pb2.ListAliasesRequest(parent=model)):
        found.setdefault(alias.version, []).append(_last(alias.name))
    return found


def promote(
    model: Annotated[str, typer.Argument(help="The model, or model/3 for its version 3.")],
    version: Annotated[
        int | None, typer.Argument(min=1, help="The number of the version that shall serve, where it isn't said yet.")
    ] = None,
    alias: Annotated[str, typer.Option("--alias", help="The alias to move.")] = "champion",
    why: Annotated[str, typer.Option("--why", help="Why, for the record.")] = "",
    project: Project = "default",
    json: Json = False,
) -> None:
    """Point a model's alias to a version, unless somebody moved it meanwhile; gateways swap without a failed request."""
    try:
        full = f"{names.full('models', model, project)}/versions/{version}"
        name = names.nested("models", "versions", model, project) if version is None else full
    except ValueError:
        raise Mistake(f"Which version of '{model}'? Write {model}/3, say; `regrow models {model}` lists them.") from None
    with connect(project) as client:
        moved = client.promote(name, alias=alias, why=why)
    if json:
        return output.show_json(moved)
    output.done(f"{names.short(moved.name)} is {names.short(moved.version)} now.")


def predict(
    model: Annotated[str, typer.Argument(help="The model; model/3 for a version, model@alias for an alias.")],
    value: Annotated[list[str] | None, typer.Argument(help="One row, as column=value words.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Rows: a CSV, TSV or JSON lines file, plain or gzipped; - is stdin.")
    ] = None,
    json_rows: Annotated[
        str, typer.Option("--json-rows", "-j", help='Rows as JSON: {"text": "Lovely"}, or an array of such.')
    ] = "",
    form: Annotated[Format, typer.Option("--format", help="How answers are printed.")] = Format.table,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    to: Annotated[Path | None, typer.Option("--to", "-o", help="Write the answers to this file as CSV.")] = None,
    project: Project = "default",
) -> None:
    """Predict rows with the model that serves."""
    rows = _rows(value or [], file, json_rows)
    form = Format.json if json else Format.csv if to else form
    with connect(project) as client:
        answers = _answers(client, model, rows)
        if form is Format.csv:
            return _write_csv(answers, to)
        if form is Format.json:
            return output.show_json([prediction for _, prediction in answers])
        _show(list(answers))


def _rows(words: list[str], file: Path | None, text: str) -> Iterable[dict[str, Any]]:
    if sum(map(bool, (words, file, text))) != 1:
        raise Mistake("Say what to predict, in one way: column=value words, --file, or --json-rows.")
    if file is not None:
        return rowfiles.rows_from_file(file)
    return rowfiles.rows_from_json(text) if text else [dict(pairs(words, "A row's value"))]


def _answers(
    client: Client, model: str, rows: Iterable[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], gateway_pb2.Prediction]]:
    """Each row with its answer, in order; a file of any size goes through in batches."""
    done = 0
    for batch in rowfiles.batches(rows, BATCH):
        with rowfiles.counted_from(done):
            predictions = client.predict(model, batch).predictions
        done += len(batch)
        yield from zip(batch, predictions, strict=True)
    if not done:
        raise Mistake("There is no row to predict.")


def _show(answers: list[tuple[dict[str, Any], gateway_pb2.Prediction]]) -> None:
    rows = [(_row_text(row), ", ".join(p.class_names) or "(abstains)", _likely(p), p.prediction_id) for row, p in answers]
    output.table("", ("row", "answer", "probabilities", "prediction id"), rows)
    for number, (_, prediction) in enumerate(answers, start=1):
        for warning in prediction.warnings:
            output.warn(f"row {number}, {warning.field}: {warning.problem}")


def _row_text(row: dict[str, Any]) -> str:
    return output.shorten(", ".join(f"{column}={value}" for column, value in row.items() if value not in (None, "")), 70)


def _likely(prediction: gateway_pb2.Prediction, most: int = 4) -> str:
    return "  ".join(f"{one.class_name} {one.probability:.3f}" for one in prediction.probabilities[:most])


def _write_csv(answers: Iterator[tuple[dict[str, Any], gateway_pb2.Prediction]], to: Path | None) -> None:
    if to is None:
        _write(answers, sys.stdout)
        return
    with to.open("w", newline="", encoding="utf-8") as file:
        count = _write(answers, file)
    output.done(f"Wrote {count:,} predictions to {to}.")


def _write(answers: Iterator[tuple[dict[str, Any], gateway_pb2.Prediction]], file: Any) -> int:
    """The row's own columns, then the answer; formulas of a spreadsheet in text are made harmless."""
    writer, count = csv.writer(file, lineterminator="\n"), 0
    columns: list[str] = []
    for row, prediction in answers:
        if not count:
            columns = list(row)
            writer.writerow([*columns, "prediction", "probability", "prediction_id"])
        count += 1
        top = f"{prediction.probabilities[0].probability:.6f}" if prediction.probabilities else ""
        writer.writerow([
            *(_harmless(row.get(column)) for column in columns), _harmless("|".join(prediction.class_names)), top,
            prediction.prediction_id,
        ])  # fmt: skip
    return count


def _harmless(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else jsonlib.dumps(value, ensure_ascii=False)
    return f"'{text}" if text[:1] in ("=", "+", "@", "\t", "\r") or (text[:1] == "-" and not _is_number(text)) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
