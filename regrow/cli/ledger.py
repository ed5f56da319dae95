"""`regrow label ledger` and `retract`: the votes that stand in the ledger, one by one, and taking them back."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from regrow import names
from regrow.cli import output
from regrow.cli.options import Filter, Json, Most, OrderBy, Project, connect
from regrow.labeling.v1 import votes_pb2 as pb

Dataset = Annotated[str, typer.Argument(help="The data set.")]


def list_votes(
    dataset: Dataset,
    labeler: Annotated[str, typer.Option("--labeler", "-l", help="Only this labeler's.")] = "",
    row: Annotated[int | None, typer.Option("--row", min=0, help="Only votes on this row.")] = None,
    filter: Filter = "",
    order_by: OrderBy = "",
    limit: Most = 50,
    project: Project = "default",
    json: Json = False,
) -> None:
    """List votes of people, of other systems and of feedback, newest first."""
    with connect(project) as client:
        request = pb.ListVotesRequest(
            parent=client.name("datasets", dataset), labeler=client.name("labelers", labeler) if labeler else "", row=row,
            filter=filter, order_by=order_by,
        )  # fmt: skip
        found = list(islice(client.votes.ListVotes.each(request), limit))
    if json:
        return output.show_json(found)
    rows = [
        (names.short(v.name).rpartition("/")[2], v.row if v.HasField("row") else "", names.short(v.labeler),
         ("not " if v.against else "") + ", ".join(v.class_names), v.annotator, output.when(v.create_time),
         output.when(v.retract_time))
        for v in found
    ]  # fmt: skip
    output.table("", ("vote", "row", "labeler", "says", "annotator", "written", "retracted"), rows, numbers=("row",))


def retract(
    dataset: Dataset,
    vote: Annotated[list[str], typer.Argument(help="The votes, by the number that `regrow label ledger` shows.")],
    why: Annotated[str, typer.Option("--why", help="Why, for the record.")] = "",
    project: Project = "default",
) -> None:
    """Take votes back: later label sets are made without them."""
    with connect(project) as client:
        parent = client.name("datasets", dataset)
        votes = [one if one.startswith("projects/") else f"{parent}/votes/{one}" for one in vote]
        answer = client.votes.RetractVotes(pb.RetractVotesRequest(parent=parent, votes=votes, why=why))
    output.done(f"{answer.retracted:,} retracted.")
