"""`regrow feedback`: labels from production, sent back and accounted for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from regrow import choices, names
from regrow.cli import output, rowfiles
from regrow.cli.options import Filter, Json, Mistake, Most, OrderBy, Project, connect, pairs
from regrow.errors import CallError
from regrow.gateway.v1 import gateway_pb2 as pb_gateway
from regrow.labeling.v1 import feedback_ledger_pb2 as pb
from regrow.paging import iterate
from regrow.repeating import OUTCOME_OPEN

app = typer.Typer(help="Send labels from production, and see what became of them.", no_args_is_help=True)
_KNOWN = ("prediction_id", "class", "source", "event_id", "observe_time")
_TELL_EVERY = 10_000
_MOST_SHOWN = 20
_FATES = {
    pb.FEEDBACK_FATE_REUSED_ID: "of these another event under a used id",
    pb.FEEDBACK_FATE_AMENDED: "changed their source's label",
    pb.FEEDBACK_FATE_DISAGREED: "disagreed with another source",
    pb.FEEDBACK_FATE_LATE: "came after their regrowth",
    pb.FEEDBACK_FATE_JOINED_LATER: "joined when their prediction came",
}


@app.command("send")
def send(
    model: Annotated[str, typer.Argument(help="The model.")],
    prediction: Annotated[
        list[str] | None,
        typer.Option("--prediction", help="The id of the prediction that it is about. May be repeated, for one truth of many."),
    ] = None,
    feature: Annotated[
        list[str] | None, typer.Option("--feature", help="column=value, where there is no prediction. May be repeated.")
    ] = None,
    class_name: Annotated[
        list[str] | None, typer.Option("--class", "-c", help="The true class. May be repeated (multi-label).")
    ] = None,
    source: Annotated[str, typer.Option("--source", help="Who says so; each source has its own reliability.")] = "",
    event_id: Annotated[str, typer.Option("--event-id", help="Your id of this event; a repeat has no effect.")] = "",
    request_id: Annotated[
        str, typer.Option("--request-id", help="Your id of this command's feedback as a whole; a repeat has no effect.")
    ] = "",
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Many at once: CSV, TSV or JSON lines.")] = None,
    separator: Annotated[str, typer.Option("--separator", help="Separates several classes in a file's cell.")] = "|",
    project: Project = "default",
) -> None:
    """Send feedback; when the command ends, it is committed.

    A file has the column class, and prediction_id or the features as columns of their own. It may have source, event_id and
    observe_time. Rows that are wrong are told, and the others are committed.
    """
    if file is not None:
        return _send_file(model, file, separator, source, project, request_id)
    if not (prediction or feature):
        raise Mistake("Say what the feedback is about: --prediction, --feature, or --file.")
    if event_id and len(prediction or []) > 1:
        raise Mistake("--event-id names one event: give it with one --prediction.")
    features = pairs(feature or [], "--feature") or None
    about = [{"prediction_id": one.strip() or None, "features": features} for one in prediction or [""]]
    said = {"class_names": class_name or [], "source": source, "event_id": event_id}
    with connect(project) as client, _said_how_to_repeat():
        ids = client.send_feedback(model, [{**one, **said} for one in about], request_id=request_id)
    output.done(f"Committed as event {', '.join(ids)}.")


@contextmanager
def _said_how_to_repeat() -> Iterator[None]:
    """A call that broke off may have committed what it brought: whoever sends it again needs its id."""
    try:
        yield
    except CallError as error:
        output.fail_call(error)
        option = next((one for one in ("request_id", "event_id") if error.facts.get(one)), "")
        if option and error.code in OUTCOME_OPEN:
            again = f"--{option.replace('_', '-')} {error.facts[option]}"
            output.tell(f"Some of it may be committed. It counts once if you send the same again with {again}")
        raise typer.Exit(code=1) from None


def _send_file(model: str, file: Path, separator: str, source: str, project: str, request_id: str) -> None:
    rows = (_from_row(row, file, separator, source) for row in rowfiles.rows_from_file(file))
    told = 0

    def answered(so_far: pb_gateway.StreamFeedbackResponse) -> None:
        nonlocal told
        if so_far.committed_count >= told + _TELL_EVERY:
            told = so_far.committed_count
            output.tell(f"{told:,} committed")

    with connect(project) as client, _said_how_to_repeat():
        found = client.stream_feedback(model, rows, request_id=request_id, answered=answered)
    if not found.received_count:
        raise Mistake(f"{file} has no row.")
    if not found.refused_count:
        return output.done(f"{found.committed_count:,} committed.")
    for one in found.refused[:_MOST_SHOWN]:
        output.warn(f"row {one.index + 1:,}: {one.field}: {one.problem}")
    if found.refused_count > _MOST_SHOWN:
        output.tell("and more")
    raise Mistake(f"{found.refused_count:,} rows were refused; the other {found.committed_count:,} are committed.")


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
        "observe_time": _time(row.get("observe_time"), file),
    }


def _time(value: object, file: Path) -> Timestamp | None:
    if not value:
        return None
    time = Timestamp()
    try:
        time.FromJsonString(str(value))
    except ValueError:
        raise Mistake(f"{file}: observe_time '{value}' is no time such as 2026-03-27T14:53:00Z.") from None
    return time


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
        **{_FATES.get(one.fate, "other"): f"{one.count:,}" for one in found.fates if one.fate in _FATES},
        "predictions to join": f"{found.predictions:,}",
        "feedback not read yet": f"{found.lag:,}",
        "predictions not read yet": f"{found.prediction_lag:,}",
    })  # fmt: skip
    if found.unmatched and found.prediction_lag:
        output.tell("Feedback on a prediction that isn't read yet is unmatched until it is, and a vote then.")
    if found.sources:
        rows = [(s.source, s.votes, names.short(s.labeler)) for s in found.sources]
        output.table("Sources", ("source", "votes", "labeler"), rows, numbers=("votes",))


@app.command("issues")
def issues(
    model: Annotated[str, typer.Argument(help="The model.")],
    fate: Annotated[str, typer.Option("--fate", help="Only these, such as amended, disagreed, late.")] = "",
    filter: Filter = "",
    order_by: OrderBy = "",
    limit: Most = 50,
    project: Project = "default",
    json: Json = False,
) -> None:
    """List feedback that had something odd about it, and what became of it, newest first."""
    try:
        wanted = choices.number(pb.FeedbackFate, fate) if fate else pb.FEEDBACK_FATE_UNSPECIFIED
    except ValueError as error:
        raise Mistake(f"--fate: {error}") from None
    with connect(project) as client:
        request = pb.ListFeedbackIssuesRequest(
            parent=client.name("models", model), fate=wanted, page_size=min(limit, 1000), filter=filter, order_by=order_by
        )
        found = list(islice(iterate(client.feedback_ledger.ListFeedbackIssues, request), limit))
    if json:
        return output.show_json(found)
    output.table(
        "",
        ("event", "source", "label", "what became of it", "against", "prediction", "accepted"),
        [
            (
                one.event_id, one.source, ", ".join(one.class_names), choices.word_of(pb.FeedbackFate.DESCRIPTOR, one.fate),
                f"{', '.join(one.other_class_names)} {one.other_source and f'({one.other_source})'}".strip(),
                one.prediction, output.when(one.accept_time),
            )
            for one in found
        ],
    )  # fmt: skip


@app.command("unmatched")
def unmatched(
    model: Annotated[str, typer.Argument(help="The model.")],
    filter: Filter = "",
    order_by: OrderBy = "",
    limit: Most = 50,
    project: Project = "default",
    json: Json = False,
) -> None:
    """List feedback that joined no prediction or meant no class, newest first."""
    with connect(project) as client:
        request = pb.ListUnmatchedFeedbackRequest(parent=client.name("models", model), filter=filter, order_by=order_by)
        listed = iterate(client.feedback_ledger.ListUnmatchedFeedback, request)
        found = [one for one, _ in zip(listed, range(limit), strict=False)]
    if json:
        return output.show_json(found)
    output.table(
        "",
        ("event", "prediction", "source", "label", "why", "accepted"),
        [(f.event_id, f.prediction, f.source, ", ".join(f.class_names), f.reason, output.when(f.accept_time)) for f in found],
    )
