"""`regrow feedback`: labels from production, sent back and accounted for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from regrow import names
from regrow.cli import output, rowfiles
from regrow.cli.options import Json, Mistake, Most, Project, connect, pairs
from regrow.labeling.v1 import feedback_ledger_pb2 as pb
from regrow.paging import iterate

app = typer.Typer(help="Send labels from production, and see what became of them.", no_args_is_help=True)
BATCH = 1000
_KNOWN = ("prediction_id", "class", "source", "event_id")


@app.command("send")
def send(
    model: Annotated[str, typer.Argument(help="The model.")],
    prediction: Annotated[str, typer.Option("--prediction", help="The id of the prediction that it is about.")] = "",
    feature: Annotated[
        list[str] | None, typer.Option("--feature", help="column=value, where there is no prediction. May be repeated.")
    ] = None,
    class_name: Annotated[
        list[str] | None, typer.Option("--class", "-c", help="The true class. May be repeated (multi-label).")
    ] = None,
    source: Annotated[str, typer.Option("--source", help="Who says so; each source has its own reliability.")] = "",
    event_id: Annotated[str, typer.Option("--event-id", help="Your id of this event; a repeat has no effect.")] = "",
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Many at once: CSV, TSV or JSON lines.")] = None,
    separator: Annotated[str, typer.Option("--separator", help="Separates several classes in a file's cell.")] = "|",
    project: Project = "default",
) -> None:
    """Send feedback; when the command ends, it is committed.

    A file has the column class, and prediction_id or the features as columns of their own. It may have source and event_id.
    """
    if file is not None:
        feedback: Iterator[dict[str, Any]] = (_from_row(row, file, separator, source) for row in rowfiles.rows_from_file(file))
    elif prediction or feature:
        one = {"prediction_id": prediction.strip() or None, "features": pairs(feature or [], "--feature") or None}
        feedback = iter([{**one, "class_names": class_name or [], "source": source, "event_id": event_id}])
    else:
        raise Mistake("Say what the feedback is about: --prediction, --feature, or --file.")
    count = 0
    with connect(project) as client:
        for batch in rowfiles.batches(feedback, BATCH):
            with rowfiles.counted_from(count):
                ids = client.send_feedback(model, batch)
            count += len(ids)
            if len(batch) == BATCH:
                output.tell(f"{count:,} committed")
    if not count:
        raise Mistake(f"{file} has no row.")
    output.done(f"{count:,} committed." if file else f"Committed as event {ids[0]}.")


def _from_row(row: dict[str, Any], file: Path, separator: str, source: str) -> dict[str, Any]:
    if "class" not in row:
        raise Mistake(f"{file} needs a column 'class'; it has: {', '.join(map(str, row))}.")
    label = row["class"]
    classes = (
        [str(one) for one in label]
        if isinstance(label, list)
        else [c.strip() for c in str(label or "").split(separator) if c.strip()]
    )
    features = {column: value for column, value in row.items() if column not in _KNOWN and column}
    return {
        "prediction_id": row.get("prediction_id") or None,
        "features": None if row.get("prediction_id") else features,
        "class_names": classes,
        "source": row.get("source") or source,
        "event_id": str(row.get("event_id") or ""),
    }


@app.command("stats")
def stats(model: Annotated[str, typer.Argument(help="The model.")], project: Project = "default", json: Json = False) -> None:
    """Show what became of a model's feedback."""
    with connect(project) as client:
        request = pb.GetFeedbackStatsRequest(parent=client.name("models", model))
        found = client.feedback_ledger.GetFeedbackStats(request)
    if json:
        return output.show_json(found)
    output.facts({
        "votes in the ledger": f"{found.votes:,}",
        "of these used by a regrowth": f"{found.used:,}",
        "unmatched": f"{found.unmatched:,}",
        "repeated": f"{found.repeated_count:,}",
        "predictions to join": f"{found.predictions:,}",
        "not read yet": f"{found.lag:,}",
    })  # fmt: skip
    if found.sources:
        rows = [(s.source, s.votes, names.short(s.labeler)) for s in found.sources]
        output.table("Sources", ("source", "votes", "labeler"), rows, numbers=("votes",))


@app.command("unmatched")
def unmatched(
    model: Annotated[str, typer.Argument(help="The model.")], limit: Most = 50, project: Project = "default", json: Json = False
) -> None:
    """List feedback that joined no prediction or meant no class, newest first."""
    with connect(project) as client:
        request = pb.ListUnmatchedFeedbackRequest(parent=client.name("models", model))
        listed = iterate(client.feedback_ledger.ListUnmatchedFeedback, request)
        found = [one for one, _ in zip(listed, range(limit), strict=False)]
    if json:
        return output.show_json(found)
    output.table(
        "",
        ("event", "prediction", "source", "label", "why", "accepted"),
        [(f.event_id, f.prediction, f.source, ", ".join(f.class_names), f.reason, output.when(f.accept_time)) for f in found],
    )
