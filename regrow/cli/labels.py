"""`regrow label set`: votes and gold labels aggregated into a label set, with what was learned of each labeler."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regrow import choices, names
from regrow.cli import output
from regrow.cli.datasets import format_of, write_file
from regrow.cli.labelers import dataset_of
from regrow.cli.options import Filter, Json, Mistake, Most, OrderBy, Project, connect, nested_name
from regrow.labeling.v1 import label_sets_pb2 as pb
from regrow.paging import iterate

_METHODS = ", ".join(choices.words(pb.AggregationMethod))


def create(
    spec: Annotated[str, typer.Argument(help="The spec whose labelers are counted.")],
    name: Annotated[str, typer.Option("--name", help="The label set's id. Default: made by Regrow.")] = "",
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="The rows. Default: the spec's data set.")] = "",
    method: Annotated[
        str, typer.Option("--method", "-m", help=f"One of: {_METHODS}. Default: chosen by how labelers overlap.")
    ] = "",
    labeler: Annotated[list[str] | None, typer.Option("--labeler", "-l", help="Count only this one. May be repeated.")] = None,
    no_target: Annotated[bool, typer.Option("--no-target", help="Leave the target column out on training rows.")] = False,
    project: Project = "default",
    json: Json = False,
) -> None:
    """Aggregate votes and gold labels into a label set, and print coverage, conflict and learned accuracies."""
    with connect(project) as client:
        try:
            made = client.create_label_set(
                dataset or dataset_of(client, spec), problem_spec=spec, label_set_id=name, method=method or 0,
                labelers=[client.name("labelers", one) for one in labeler or []], ignore_target_column=no_target,
            )  # fmt: skip
        except ValueError as error:
            raise Mistake(f"--method: {error}") from None
    if json:
        return output.show_json(made)
    show_label_set(made)


def show_label_set(made: pb.LabelSet) -> None:
    """Prints what a label set holds and what was learned of each labeler."""
    output.facts({
        "label set": names.short(made.name),
        "method": choices.word(pb.AggregationMethod, made.method_used).replace("_", " "),
        "training rows": made.training_rows,
        "gold among them": made.gold_rows,
        "holdout rows": made.holdout_rows,
        "coverage": output.percent(made.coverage),
        "conflict": output.percent(made.conflict),
        "right on gold": output.percent(made.gold_accuracy) if made.HasField("gold_accuracy") else "",
    })  # fmt: skip
    if made.labeler_summaries:
        columns = ("labeler", "votes", "coverage", "conflict", "learned accuracy", "right on gold", "95% interval")
        output.table("Labelers", columns, map(_summary, made.labeler_summaries), numbers=columns[1:6])
    output.table(
        "Classes",
        ("class", "training rows", "gold", "holdout"),
        [(c.class_name, c.training_rows, c.gold_rows, c.holdout_rows) for c in made.class_counts],
        numbers=("training rows", "gold", "holdout"),
    )
    for note in made.notes:
        output.warn(note)


def _summary(one: pb.LabelerSummary) -> tuple[object, ...]:
    interval = f"{one.gold_accuracy_low:.2f} to {one.gold_accuracy_high:.2f}" if one.HasField("gold_accuracy_low") else ""
    return (
        names.short(one.labeler), one.votes, output.percent(one.coverage), output.percent(one.conflict),
        output.percent(one.learned_accuracy) if one.HasField("learned_accuracy") else "",
        f"{output.percent(one.gold_accuracy)} of {one.gold_votes}" if one.HasField("gold_accuracy") else "", interval,
    )  # fmt: skip


def list_sets(
    dataset: Annotated[str, typer.Argument(help="The data set.")],
    filter: Filter = "",
    order_by: OrderBy = "",
    limit: Most = 50,
    project: Project = "default",
    json: Json = False,
) -> None:
    """List a data set's label sets, newest first."""
    with connect(project) as client:
        request = pb.ListLabelSetsRequest(parent=client.name("datasets", dataset), filter=filter, order_by=order_by)
        listed = iterate(client.label_sets.ListLabelSets, request)
        found = [one for one, _ in zip(listed, range(limit), strict=False)]
    if json:
        return output.show_json(found)
    rows = [
        (names.short(s.name), names.short(s.problem_spec), choices.word(pb.AggregationMethod, s.method_used), s.training_rows,
         s.gold_rows, s.holdout_rows, output.percent(s.coverage), output.when(s.create_time))
        for s in found
    ]  # fmt: skip
    columns = ("label set", "spec", "method", "training rows", "gold", "holdout", "coverage", "made")
    output.table("", columns, rows, numbers=columns[3:7])


def show(
    name: Annotated[str, typer.Argument(help="The label set, as dataset/label-set.")],
    project: Project = "default",
    json: Json = False,
) -> None:
    """Show a label set."""
    with connect(project) as client:
        full = nested_name("datasets", "labelSets", name, project)
        found = client.label_sets.GetLabelSet(pb.GetLabelSetRequest(name=full))
    if json:
        return output.show_json(found)
    show_label_set(found)


def export(
    name: Annotated[str, typer.Argument(help="The label set, as dataset/label-set.")],
    to: Annotated[
        Path | None, typer.Option("--to", "-o", help="The file to write; its ending says the format. Default: CSV on stdout.")
    ] = None,
    project: Project = "default",
) -> None:
    """Export a label set, joined with the rows."""
    with connect(project) as client:
        full = nested_name("datasets", "labelSets", name, project)
        write_file(client.label_sets.ExportLabelSet(pb.ExportLabelSetRequest(name=full, format=format_of(to))), to)
