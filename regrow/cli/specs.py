"""`regrow spec`: what is predicted, and how success is measured."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf import json_format

from regrow import choices, names
from regrow.cli import output
from regrow.cli.options import Filter, Json, Mistake, Most, OrderBy, Project, connect
from regrow.labeling.v1 import problem_specs_pb2 as pb
from regrow.paging import iterate
from regrow.types.v1 import problem_spec_pb2 as types
from regrow.types.v1.schema_pb2 import ColumnKind

app = typer.Typer(help="Say what is predicted, and how success is measured.", no_args_is_help=True)


Texts = list[str] | None
Dataset = Annotated[str, typer.Option("--dataset", "-d", help="The data set. Default: the one of the same name.")]
Target = Annotated[str, typer.Option("--target", "-t", help="The column of gold labels. None: labels come from votes.")]
Classes = Annotated[
    Texts, typer.Option("--class", "-c", help="A class, as name or name=value,value. Default: the target's values.")
]
Exclude = Annotated[Texts, typer.Option("--exclude", "-x", help="A column that models must not read. May be repeated.")]
Input = Annotated[Texts, typer.Option("--input", "-i", help="Read only this column. May be repeated.")]
Measure = Annotated[str, typer.Option("--metric", help=f"One of: {', '.join(choices.words(types.Metric))}. Default: macro_f1.")]
Beta = Annotated[float, typer.Option("--beta", help="Beta of f_beta.")]
Positive = Annotated[str, typer.Option("--positive", help="The class that f_beta and average_precision look at.")]
MultiLabel = Annotated[bool, typer.Option("--multi-label", help="A row may have any number of classes.")]
Separator = Annotated[
    str,
    typer.Option(
        "--separator", help="Separates the values of a multi-label target cell; alone in a cell: none of the classes."
    ),
]
Balance = Annotated[bool, typer.Option("--balance", help="Weigh rare classes up.")]
Abstain = Annotated[float, typer.Option("--abstain-below", help="Abstain where the largest probability is below this.")]
Cost = Annotated[str, typer.Option("--cost", help="The cost matrix, a row per true class: JSON, or a file of it.")]
Slice = Annotated[Texts, typer.Option("--slice", help="Report scores apart for each value of this column. May be repeated.")]
Supersedes = Annotated[str, typer.Option("--supersedes", help="The spec that this one replaces.")]
Source = Annotated[
    Path | None, typer.Option("--from", help="A spec as JSON, as `spec show --json` prints it; options add to it.")
]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="The spec's id.")],
    dataset: Dataset = "",
    target: Target = "",
    classes: Classes = None,
    exclude: Exclude = None,
    input_column: Input = None,
    metric: Measure = "",
    beta: Beta = 0.0,
    positive: Positive = "",
    multi_label: MultiLabel = False,
    separator: Separator = "",
    balance: Balance = False,
    abstain_below: Abstain = 0.0,
    cost: Cost = "",
    slice_column: Slice = None,
    supersedes: Supersedes = "",
    source: Source = None,
    project: Project = "default",
    json: Json = False,
) -> None:
    """Create a spec. It never changes; a later one supersedes it."""
    spec = _read(source) if source else types.ProblemSpec()
    given = types.ProblemSpec(
        dataset=names.full("datasets", dataset or name, project) if dataset or not spec.dataset else "",
        target_column=target, classes=map(_class, classes or []), excluded_columns=exclude, input_columns=input_column,
        metric=_metric_number(metric), beta=beta, positive_class=positive, label_separator=separator, balance_classes=balance,
        task=types.TASK_MULTI_LABEL if multi_label else types.TASK_UNSPECIFIED, abstain_below=abstain_below,
        cost_matrix=_costs(cost), slice_columns=slice_column,
        supersedes=names.full("problemSpecs", supersedes, project) if supersedes else "",
    )  # fmt: skip
    spec.MergeFrom(given)
    with connect(project) as client:
        request = pb.CreateProblemSpecRequest(parent=f"projects/{project}", problem_spec_id=name, problem_spec=spec)
        made = client.specs.CreateProblemSpec(request)
    if json:
        return output.show_json(made)
    output.done(f"Created {made.name}.")
    show_spec(made)


def _metric_number(word: str) -> Any:
    try:
        return choices.number(types.Metric, word or 0)
    except ValueError as error:
        raise Mistake(f"--metric: {error}") from None


def _read(file: Path) -> types.ProblemSpec:
    """A spec that was printed before, without what only the server may say."""
    try:
        spec = json_format.Parse(file.read_text(encoding="utf-8"), types.ProblemSpec())
    except (OSError, ValueError, json_format.ParseError) as error:
        raise Mistake(f"{file} holds no spec as JSON: {error}") from None
    for field in ("name", "version", "create_time", "warnings", "resolved_inputs"):
        spec.ClearField(field)
    return spec


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
def list_specs(
    filter: Filter = "", order_by: OrderBy = "", limit: Most = 50, project: Project = "default", json: Json = False
) -> None:
    """List specs, newest first."""
    with connect(project) as client:
        request = pb.ListProblemSpecsRequest(parent=f"projects/{project}", filter=filter, order_by=order_by)
        listed = iterate(client.specs.ListProblemSpecs, request)
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
