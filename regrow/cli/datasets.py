"""`regrow import` and `regrow datasets`: files in, what was understood of them, files out."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from regrow import choices, names
from regrow.cli import output
from regrow.cli.options import Filter, Json, Mistake, Most, OrderBy, Project, connect, pairs
from regrow.client import Client
from regrow.labeling.v1 import datasets_pb2 as pb
from regrow.paging import iterate
from regrow.rows import values
from regrow.types.v1 import schema_pb2

app = typer.Typer(help="List, show, export and delete data sets.", no_args_is_help=True)
_TELL_EVERY = 5.0


def import_file(
    file: Annotated[Path, typer.Argument(help="CSV, TSV, JSON lines or Parquet, plain or gzipped.")],
    name: Annotated[str, typer.Option("--name", help="The data set's id. Default: made from the file's name.")] = "",
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help="What a column is, column=text|categorical|numeric|boolean|datetime|id. May be repeated."),
    ] = None,
    holdout_column: Annotated[str, typer.Option("--holdout-column", help="The column that says which rows are held out.")] = "",
    holdout_value: Annotated[
        list[str] | None,
        typer.Option("--holdout-value", help="A value of it that means held out. Default: test, holdout, true, 1."),
    ] = None,
    holdout_share: Annotated[
        float,
        typer.Option(
            "--holdout-share", min=0.0, max=0.95, help="The share to hold out where there is no such column; 0 means 0.2."
        ),
    ] = 0.0,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", help="A column that the holdout's hash doesn't read (the target). May be repeated."),
    ] = None,
    description: Annotated[str, typer.Option("--description", help="What is in it, in words.")] = "",
    project: Project = "default",
    json: Json = False,
) -> None:
    """Import a file as a data set, and print what was understood of each column."""
    holdout = pb.Holdout(
        split_column=holdout_column, split_values=holdout_value or [], share=holdout_share, ignored_columns=ignore or []
    )
    with connect(project) as client:
        dataset = upload(
            client, file, name or names.id_from(bare_name(file)),
            kinds=pairs(kind or [], "--kind"), holdout=holdout, description=description,
        )  # fmt: skip
        profile = profile_of(client, dataset.latest_version.name)
    if json:
        return output.show_json({"dataset": dataset, "profile": profile})
    show_understanding(dataset, profile)


def bare_name(file: Path) -> str:
    """`reviews` for `reviews.csv.gz`."""
    return file.name.split(".")[0]


def upload(client: Client, file: Path, dataset_id: str, **fields: Any) -> pb.Dataset:
    """Imports a file with a progress bar. Raises `Mistake` for a file that isn't there or is empty."""
    size = size_of(file)
    start = last = time.monotonic()
    try:
        with output.upload_progress() as progress:
            task = progress.add_task(f"Importing {file.name}", total=size)

            def sent(total: int) -> None:
                nonlocal last
                progress.update(task, completed=total)
                if not output.is_watched() and time.monotonic() - last > _TELL_EVERY:
                    last = time.monotonic()
                    output.tell(f"{megabytes(total)} of {megabytes(size)} sent")

            dataset = client.import_file(file, dataset_id=dataset_id, sent=sent, **fields)
    except ValueError as error:
        raise Mistake(str(error)) from None
    seconds = max(time.monotonic() - start, 1e-3)
    output.done(f"Imported {file.name}: {megabytes(size)} in {seconds:.1f} s ({megabytes(size / seconds)}/s).")
    return dataset


def size_of(file: Path) -> int:
    """Its bytes. Raises `Mistake` where it can't be read or has none."""
    try:
        if file.is_dir():
            raise Mistake(f"{file} is a folder. Name one file in it.")
        with file.open("rb") as opened:
            size = file.stat().st_size
            if not opened.read(1):
                raise Mistake(f"{file} is empty: there is nothing to learn from.")
    except OSError as error:
        raise Mistake(f"{file} can't be read: {error.strerror}.") from None
    return size


def megabytes(size: float) -> str:
    """`12.3 MB`."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB" if size >= 1e3 else f"{size:.0f} bytes"


def profile_of(client: Client, version: str) -> pb.Profile:
    """What was seen in each column of a version."""
    profile: pb.Profile = client.datasets.GetProfile(pb.GetProfileRequest(name=version))
    return profile


def show_understanding(dataset: pb.Dataset, profile: pb.Profile) -> None:
    """Prints each column's kind, why, and what to look at."""
    version = dataset.latest_version
    because = {column.name: column.inferred_because or "as you said" for column in version.schema.columns}
    output.facts({
        "data set": dataset.name,
        "rows": version.row_count,
        "held out": f"{version.holdout_count:,} ({output.percent(version.holdout_count / max(version.row_count, 1))})",
        "repeated rows": profile.duplicate_rows,
    })  # fmt: skip
    output.table(
        "What was understood",
        ("column", "kind", "missing", "distinct", "why", "look at"),
        [
            (c.column, kind_word(c.kind), c.missing, c.distinct, because.get(c.column, ""), "; ".join(c.warnings))
            for c in profile.columns
        ],
        numbers=("missing", "distinct"),
    )
    for note in version.notes:
        output.warn(note)


def kind_word(kind: int) -> str:
    """`text` for COLUMN_KIND_TEXT."""
    return choices.word(schema_pb2.ColumnKind, kind)


@app.command("list")
def list_datasets(
    filter: Filter = "", order_by: OrderBy = "", limit: Most = 50, project: Project = "default", json: Json = False
) -> None:
    """List data sets, newest first."""
    with connect(project) as client:
        request = pb.ListDatasetsRequest(parent=f"projects/{project}", filter=filter, order_by=order_by)
        listed = iterate(client.datasets.ListDatasets, request)
        found = [one for one, _ in zip(listed, range(limit), strict=False)]
    if json:
        return output.show_json(found)
    rows = [
        (names.short(d.name), d.latest_version.row_count, d.latest_version.holdout_count, len(d.latest_version.schema.columns),
         names.short(d.latest_version.name).split("/")[-1], output.when(d.create_time), d.description)
        for d in found
    ]  # fmt: skip
    columns = ("data set", "rows", "held out", "columns", "version", "imported", "description")
    output.table("", columns, rows, numbers=columns[1:5])


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="The data set.")], project: Project = "default", json: Json = False) -> None:
    """Show what was understood of a data set's columns."""
    with connect(project) as client:
        dataset = client.datasets.GetDataset(pb.GetDatasetRequest(name=client.name("datasets", name)))
        profile = profile_of(client, dataset.latest_version.name)
    if json:
        return output.show_json({"dataset": dataset, "profile": profile})
    show_understanding(dataset, profile)


@app.command("rows")
def rows(
    name: Annotated[str, typer.Argument(help="The data set.")],
    limit: Most = 10,
    project: Project = "default",
    json: Json = False,
) -> None:
    """Show the first rows of a data set."""
    with connect(project) as client:
        request = pb.ListRowsRequest(parent=f"{client.name('datasets', name)}/versions/latest", page_size=min(limit, 1000))
        found = [row for row, _ in zip(iterate(client.datasets.ListRows, request), range(limit), strict=False)]
    if json:
        return output.show_json(found)
    for row in found:
        output.say(f"row {row.number}{' (held out)' if row.holdout else ''}", style="bold")
        output.facts(
            {column: output.shorten(str(value), 160) for column, value in values(row.values).items() if value is not None}
        )


@app.command("export")
def export(
    name: Annotated[str, typer.Argument(help="The data set.")],
    to: Annotated[
        Path | None, typer.Option("--to", "-o", help="The file to write; its ending says the format. Default: CSV on stdout.")
    ] = None,
    version: Annotated[str, typer.Option("--version", help="Which version.")] = "latest",
    project: Project = "default",
) -> None:
    """Export a data set as CSV, TSV, JSON lines or Parquet."""
    with connect(project) as client:
        full = f"{client.name('datasets', name)}/versions/{version}"
        write_file(client.datasets.ExportDataset(pb.ExportDatasetRequest(name=full, format=format_of(to))), to)


def format_of(file: Path | None) -> Any:
    """The format that a file's ending means. Raises `Mistake`."""
    if file is None or not file.suffix:
        return pb.FILE_FORMAT_CSV
    try:
        return choices.number(pb.FileFormat, file.suffix.removeprefix("."))
    except ValueError:
        raise Mistake(f"'{file.suffix}' is no format to export: use .csv, .tsv, .jsonl or .parquet.") from None


def write_file(parts: Any, to: Path | None) -> None:
    """Writes a streamed file, or stdout. A stream that breaks leaves no half file."""
    if to is None:
        return _write(parts, sys.stdout.buffer)
    half = to.with_name(f"{to.name}.part")
    try:
        with half.open("wb") as file:
            _write(parts, file)
        half.replace(to)
    finally:
        half.unlink(missing_ok=True)
    output.done(f"Wrote {to} ({megabytes(to.stat().st_size)}).")


def _write(parts: Any, file: BinaryIO) -> None:
    for part in parts:
        file.write(part.data)


@app.command("delete")
def delete(
    name: Annotated[str, typer.Argument(help="The data set.")],
    force: Annotated[bool, typer.Option("--force", help="Delete its label sets too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    project: Project = "default",
) -> None:
    """Delete a data set with its versions and votes."""
    if not yes:
        typer.confirm(f"Delete {name} with all its versions and votes?", abort=True)
    with connect(project) as client:
        client.datasets.DeleteDataset(pb.DeleteDatasetRequest(name=client.name("datasets", name), force=force))
    output.done(f"Deleted {name}.")
