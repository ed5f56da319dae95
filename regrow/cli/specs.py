"""`regrow spec`: what is predicted, and how success is measured."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

import typer

from regrow import choices, names
from regrow.cli import output
from regrow.cli.options import Json, Mistake, Most, Project, connect
from regrow.labeling.v1 import problem_specs_pb2 as pb
from regrow.paging import iterate
from regrow.types.v1 import problem_spec_pb2 as types
from regrow.types.v1.schema_pb2 import ColumnKind

app = typer.Typer(help="Say what is predicted, and how success is measured.", no_args_is_help=True)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="The spec's id.")],
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="The data set. Default: the one of the same name.")] = "",
    target: Annotated[
        str, typer.Option("--target", "-t", help="The column that holds gold labels. None: labels come from votes.")
    ] = "",
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            "-c",
            help="A class, as name or name=value,value (merged values). May be repeated. Default: the target's values.",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", "-x", help="A column that models must not read. May be repeated.")
    ] = None,
    input_column: Annotated[
        list[str] | None, typer.Option("--input", "-i", help="Read only this column. May be repeated.")
    ] = None,
    metric: Annotated[
        str, typer.Option("--metric", help=f"One of: {', '.join(choices.words(types.Metric))}. Default: macro_f1.")
    ] = "",
    beta: Annotated[float, typer.Option("--beta", help="Beta of f_beta.")] = 0.0,
    positive: Annotated[str, typer.Option("--positive", help="The class that f_beta and average_precision look at.")] = "",
    multi_label: Annotated[bool, typer.Option("--multi-label", help="A row may have any number of classes.")] = False,
    separator: Annotated[str, typer.Option("--separator", help="Separates the values of a multi-label target cell.")] = "",
    balance: Annotated[bool, typer.Option("--balance", help="Weigh rare classes up.")] = False,
    abstain_below: Annotated[
        float, typer.Option("--abstain-below", help="Abstain where the largest probability is below this.")
    ] = 0.0,
    cost: Annotated[
        str, typer.Option("--cost", help="The cost matrix as JSON, a row per true class, or the file that holds it.")
    ] = "",
    slice_column: Annotated[
        list[str] | None, typer.Option("--slice", help="Report scores apart for each value of this column. May be repeated.")
    ] = None,
    supersedes: Annotated[str, typer.Option("--supersedes", help="The spec that this one replaces.")] = "",
    project: Project = "default",
    json: Json = False,
) -> None:
    """Create a spec. It never changes; a later one supersedes it."""
    fields: dict[str, Any] = {
        "excluded_columns": exclude or [],
        "input_columns": input_column or [],
        "beta": beta,
        "positive_class": positive,
        "task": types.TASK_MULTI_LABEL if multi_label else types.TASK_UNSPECIFIED,
        "label_separator": separator,
        "balance_classes": balance,
        "abstain_below": abstain_below,
        "cost_matrix": _costs(cost),
        "slice_columns": slice_column or [],
        "supersedes": names.full("problemSpecs", supersedes, project) if supersedes else "",
    }
    with connect(project) as client:
        try:
            spec = client.create_spec(
                name, dataset=dataset or name, target=target, metric=metric or 0, classes=map(_class, classes or []), **fields
            )
        except ValueError as error:
            raise Mistake(f"--metric: {error}") from None
    if json:
        return output.show_json(spec)
    output.done(f"Created {spec.name}.")
    show_spec(spec)


def _class(text: str) -> types.ClassDefinition:
    name, equals, source = text.partition("=")
    return types.ClassDefinition(name=name, source_values=source.split(",") if equals else [])


def _costs(text: str) -> list[types.CostRow]:
    if not text:
        return []
    try:
        raw = jsonlib.loads(Path(text).read_text() if not text.lstrip().startswith("[") else text)
        return [types.CostRow(costs=row) for row in raw]
    except (OSError, ValueError, TypeError):
        raise Mistake(f"--cost '{text[:80]}' is neither JSON like [[0, 1], [5, 0]] nor a file that holds such.") from None


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="The spec.")], project: Project = "default", json: Json = False) -> None:
    """Show a spec."""
    with connect(project) as client:
        spec = client.specs.GetProblemSpec(pb.GetProblemSpecRequest(name=client.name("problemSpecs", name)))
    if json:
        return output.show_json(spec)
    show_spec(spec)


def show_spec(spec: types.ProblemSpec) -> None:
    """Prints a spec and its warnings."""
    output.facts({
        "spec": f"{names.short(spec.name)} (version {spec.version})",
        "supersedes": spec.supersedes,
        "data set": spec.dataset,
        "target": spec.target_column or "none: labels come from votes",
        "task": choices.word(types.Task, spec.task).replace("_", "-"),
        "metric": _metric(spec),
        "positive class": spec.positive_class,
        "classes": output.shorten(", ".join(map(_class_text, spec.classes)), 400),
        "reads": ", ".join(f"{c.name} ({choices.word(ColumnKind, c.kind)})" for c in spec.resolved_inputs),
        "excluded": ", ".join(spec.excluded_columns),
        "class weights": _weights(spec),
        "costs": "; ".join(" ".join(f"{c:g}" for c in row.costs) for row in spec.cost_matrix),
        "abstains below": spec.abstain_below,
        "slices": ", ".join(spec.slice_columns),
        "made": output.when(spec.create_time),
    })  # fmt: skip
    for warning in spec.warnings:
        output.warn(warning)


def _metric(spec: types.ProblemSpec) -> str:
    beta = f", beta {spec.beta:g}" if spec.metric == types.METRIC_F_BETA else ""
    return choices.word(types.Metric, spec.metric) + beta


def _weights(spec: types.ProblemSpec) -> str:
    return "by the inverse of their share" if spec.balance_classes else ", ".join(f"{w:g}" for w in spec.class_weights)


def _class_text(definition: types.ClassDefinition) -> str:
    merged = [value for value in definition.source_values if value != definition.name]
    return f"{definition.name} (from {', '.join(definition.source_values)})" if merged else definition.name


@app.command("list")
def list_specs(limit: Most = 50, project: Project = "default", json: Json = False) -> None:
    """List specs, newest first."""
    with connect(project) as client:
        listed = iterate(client.specs.ListProblemSpecs, pb.ListProblemSpecsRequest(parent=f"projects/{project}"))
        found = [one for one, _ in zip(listed, range(limit), strict=False)]
    if json:
        return output.show_json(found)
    output.table(
        "",
        ("spec", "version", "data set", "target", "classes", "metric", "made"),
        [
            (names.short(s.name), s.version, names.short(s.dataset), s.target_column, len(s.classes),
             choices.word(types.Metric, s.metric), output.when(s.create_time))
            for s in found
        ],
        numbers=("version", "classes"),
    )  # fmt: skip
