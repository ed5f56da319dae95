"""`regrow datasets versions`, `version`, `append` and `retype`: how a data set grows and changes."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from regrow import names, rows, uploading
from regrow.cli import output, rowfiles
from regrow.cli.datasets import kind_word
from regrow.cli.options import Filter, Json, Mistake, Most, OrderBy, Project, connect, pairs
from regrow.labeling.v1 import datasets_pb2 as pb

Name = Annotated[str, typer.Argument(help="The data set.")]
_ROWS_A_CALL = 1000


def list_versions(
    name: Name, filter: Filter = "", order_by: OrderBy = "", limit: Most = 50, project: Project = "default", json: Json = False
) -> None:
    """List a data set's versions, newest first."""
    with connect(project) as client:
        parent = client.name("datasets", name)
        request = pb.ListDatasetVersionsRequest(parent=parent, filter=filter, order_by=order_by)
        found = list(islice(client.datasets.ListDatasetVersions.each(request), limit))
    if json:
        return output.show_json(found)
    rows = [
        (names.short(v.name), v.row_count, v.holdout_count, v.origin, output.when(v.create_time), v.digest) for v in found
    ]  # fmt: skip
    output.table("", ("version", "rows", "held out", "came by", "made", "digest"), rows, numbers=("rows", "held out"))


def show_version(
    name: Name,
    version: Annotated[str, typer.Argument(help="Its number, or latest.")] = "latest",
    project: Project = "default",
    json: Json = False,
) -> None:
    """Show one version: its columns and how it came about."""
    with connect(project) as client:
        full = f"{client.name('datasets', name)}/versions/{version}"
        found = client.datasets.GetDatasetVersion(pb.GetDatasetVersionRequest(name=full))
    if json:
        return output.show_json(found)
    output.facts({
        "version": found.name, "rows": found.row_count, "held out": found.holdout_count, "came by": found.origin,
        "made": output.when(found.create_time), "digest": found.digest,
    })  # fmt: skip
    output.table("", ("column", "kind"), [(column.name, kind_word(column.kind)) for column in found.schema.columns])
    for note in found.notes:
        output.warn(note)


def append(
    name: Name,
    file: Annotated[Path, typer.Argument(help="Rows: a CSV, TSV or JSON lines file, plain or gzipped; - is stdin.")],
    project: Project = "default",
    json: Json = False,
) -> None:
    """Append rows as a new version. They never enter the holdout."""
    made, count = None, 0
    with connect(project) as client:
        full = client.name("datasets", name)
        for batch in rowfiles.batches(rowfiles.rows_from_file(file), _ROWS_A_CALL):
            with rowfiles.counted_from(count):
                made = client.datasets.AppendRows(pb.AppendRowsRequest(name=full, rows=map(rows.struct, batch)))
            count += len(batch)
    if made is None:
        raise Mistake(f"{file} has no row to append.")
    if json:
        return output.show_json(made)
    output.done(f"Appended {count:,} rows: {names.short(made.name)} has {made.row_count:,}.")


def retype(
    name: Name,
    kind: Annotated[list[str], typer.Option("--kind", help="column=text|categorical|numeric|boolean|datetime|id.")],
    project: Project = "default",
    json: Json = False,
) -> None:
    """Change what columns are, as a new version; rows keep their numbers, so votes stay."""
    try:
        columns = uploading.overrides(pairs(kind, "--kind"))
    except ValueError as error:
        raise Mistake(str(error)) from None
    with connect(project) as client:
        full = client.name("datasets", name)
        etag = client.datasets.GetDataset(pb.GetDatasetRequest(name=full)).etag
        made = client.datasets.UpdateSchema(pb.UpdateSchemaRequest(name=full, columns=columns, etag=etag))
    if json:
        return output.show_json(made)
    output.done(f"{names.short(made.name)} is the newest version now.")
