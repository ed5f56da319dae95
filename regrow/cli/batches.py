"""`regrow batch`: have a whole data set scored, see how far it is, fetch the result."""

from __future__ import annotations

from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn

from regrow import names
from regrow.cli import output
from regrow.cli.datasets import megabytes, write_file
from regrow.cli.options import Filter, Json, Mistake, Most, OrderBy, Project, connect
from regrow.client import Client
from regrow.training.v1 import batch_predictions_pb2 as pb

app = typer.Typer(help="Score whole data sets.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The batch prediction.")]


class Rows(StrEnum):
    """Which rows are scored."""

    all = "all"
    unlabeled = "unlabeled"
    holdout = "holdout"


@app.command("create")
def create(
    dataset: Annotated[str, typer.Argument(help="The data set.")],
    model: Annotated[str, typer.Argument(help="A model (its champion), a version (reviews/3) or an alias (reviews@beta).")],
    rows: Annotated[Rows, typer.Option("--rows", help="Which rows.")] = Rows.all,
    version: Annotated[str, typer.Option("--version", help="Which version of the data set.")] = "latest",
    batch_id: Annotated[str, typer.Option("--id", help="What to call it; made up where it isn't said.")] = "",
    to: Annotated[Path | None, typer.Option("--to", "-o", help="Wait, and write the result here: .parquet or .csv.")] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Don't wait for it.")] = False,
    project: Project = "default",
    json: Json = False,
) -> None:
    """Score the rows of a data set, in the background, and show how far it is."""
    if to is not None:
        format_of(to)
    with connect(project) as client:
        batch = client.create_batch_prediction(dataset, model=model, version=version, rows=rows, batch_prediction_id=batch_id)
        output.tell(f"Scoring with {names.short(batch.version)}: {names.short(batch.name)}")
        if not detach:
            batch = follow(client, batch.name)
            if to is not None and batch.state == pb.BATCH_PREDICTION_STATE_SUCCEEDED:
                save(client, batch.name, to)
    finish(batch, json)


@app.command("list")
def list_batches(
    filter: Filter = "", order_by: OrderBy = "", limit: Most = 50, project: Project = "default", json: Json = False
) -> None:
    """List batch predictions, newest first."""
    with connect(project) as client:
        request = pb.ListBatchPredictionsRequest(parent=f"projects/{project}", filter=filter, order_by=order_by)
        found = list(islice(client.batch_predictions.ListBatchPredictions.each(request), limit))
    if json:
        return output.show_json(found)
    columns = ("batch", "state", "version", "data set", "rows", "done", "submitted")
    output.table("", columns, map(_row, found), numbers=("rows",))


@app.command("get")
def get(
    name: Name,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show how it goes until it ends.")] = False,
    project: Project = "default",
    json: Json = False,
) -> None:
    """Show a batch prediction: how far it is, and what came out."""
    with connect(project) as client:
        batch = follow(client, name) if watch else client.get_batch_prediction(name)
    output.show_json(batch) if json else show(batch)


@app.command("download")
def download(
    name: Name,
    to: Annotated[
        Path | None, typer.Option("--to", "-o", help="The file to write: .parquet or .csv. Default: CSV on stdout.")
    ] = None,
    project: Project = "default",
) -> None:
    """Fetch the result: each row's number, its class, and the probability of each class."""
    with connect(project) as client:
        save(client, name, to)


@app.command("cancel")
def cancel(name: Name, project: Project = "default") -> None:
    """Cancel a batch prediction. One that ended stays as it is."""
    with connect(project) as client:
        request = pb.CancelBatchPredictionRequest(name=client.name("batchPredictions", name))
        batch = client.batch_predictions.CancelBatchPrediction(request)
    stopping = batch.state <= pb.BATCH_PREDICTION_STATE_RUNNING
    output.done(f"{names.short(batch.name)} is {'being cancelled' if stopping else state_word(batch)}.")


def follow(client: Client, name: str) -> pb.BatchPrediction:
    """Shows a bar where somebody looks; answers the batch prediction once it has ended."""
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"),
        console=output.console(error=True), transient=True, disable=not output.is_watched(),
    )  # fmt: skip
    batch, waits = pb.BatchPrediction(), ""
    with bar:
        task = bar.add_task("Waiting", total=None, told="")
        for batch in client.watch_batch_prediction(name, every=0.5):
            total = batch.row_count or None
            bar.update(task, description=state_word(batch), total=total, completed=batch.rows_done, told=progress_of(batch))
            if batch.waiting_for != waits and not output.is_watched():
                output.tell(f"It waits for {batch.waiting_for}." if batch.waiting_for else "It goes on.")
            waits = batch.waiting_for
    return batch


def progress_of(batch: pb.BatchPrediction) -> str:
    """`1,200 of 5,000 rows, 830 a second, 5 s left`; while it waits, for what."""
    parts = [f"{batch.rows_done:,} of {batch.row_count:,} rows"]
    if batch.waiting_for:
        return f"{parts[0]}; waits for {batch.waiting_for}"
    if batch.rows_per_second > 0:
        parts.append(f"{batch.rows_per_second:,.0f} a second")
    if batch.HasField("time_left"):
        parts.append(f"{batch.time_left.seconds:,} s left")
    return ", ".join(parts)


def finish(batch: pb.BatchPrediction, json: bool) -> None:
    """Prints it; a failed one ends the command with an error."""
    output.show_json(batch) if json else show(batch)
    if batch.state == pb.BATCH_PREDICTION_STATE_FAILED:
        raise Mistake(batch.problem)


def show(batch: pb.BatchPrediction) -> None:
    """Prints it for a person."""
    output.facts({
        "batch": names.short(batch.name), "state": state_word(batch), "version": names.short(batch.version),
        "data set": names.short(batch.dataset_version),
        "progress": progress_of(batch) if batch.row_count or batch.waiting_for else "",
        "result": megabytes(batch.size_bytes) if batch.size_bytes else "", "attempts": batch.attempts,
        "submitted": output.when(batch.create_time), "ended": output.when(batch.end_time), "problem": batch.problem,
    })  # fmt: skip
    if batch.class_counts:
        rows = [(one.class_name or "(no class)", one.rows) for one in batch.class_counts]
        output.table("Decided", ("class", "rows"), rows, numbers=("rows",))
    for note in batch.notes:
        output.warn(note)


def state_word(batch: pb.BatchPrediction) -> str:
    """`succeeded`."""
    return pb.BatchPredictionState.Name(batch.state).removeprefix("BATCH_PREDICTION_STATE_").lower()


def format_of(to: Path | None) -> pb.ResultFormat:
    """The format that a file's ending means. Raises `Mistake`."""
    match to.suffix if to is not None else ".csv":
        case ".csv" | "":
            return pb.RESULT_FORMAT_CSV
        case ".parquet":
            return pb.RESULT_FORMAT_PARQUET
        case other:
            raise Mistake(f"'{other}' is no format of a result: use .parquet or .csv.")


def save(client: Client, name: str, to: Path | None) -> None:
    """Writes the result to a file, or to stdout."""
    request = pb.DownloadBatchPredictionRequest(name=client.name("batchPredictions", name), file_format=format_of(to))
    write_file(client.batch_predictions.DownloadBatchPrediction(request), to)


def _row(batch: pb.BatchPrediction) -> tuple[object, ...]:
    done = output.percent(batch.rows_done / batch.row_count) if batch.row_count else ""
    return (
        names.short(batch.name), state_word(batch), names.short(batch.version), names.short(batch.dataset_version),
        batch.row_count, done, output.when(batch.create_time),
    )  # fmt: skip
