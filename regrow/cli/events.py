"""`regrow events`: what consumers of the event log set aside, and its way back."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from regrow.cli import output
from regrow.cli.options import Json, connect
from regrow.gateway.v1 import gateway_pb2
from regrow.paging import iterate

app = typer.Typer(help="Events that no service could take: see why, and put them back.", no_args_is_help=True)
letters = typer.Typer(help="List and replay dead letters.", no_args_is_help=True)
app.add_typer(letters, name="dead-letters")

_OWN = "regrow."


def _topic(word: str) -> str:
    """`feedback` is short for `regrow.feedback`."""
    return word if not word or word.startswith(_OWN) else _OWN + word


@letters.command("list")
def list_letters(
    topic: Annotated[str, typer.Option("--topic", help="Only those of this topic: feedback, predictions or registry.")] = "",
    replayed: Annotated[bool, typer.Option("--replayed", help="Show those that were put back too.")] = False,
    most: Annotated[int, typer.Option("--most", min=1, help="Show at most this many.")] = 100,
    json: Json = False,
) -> None:
    """List the events that were set aside, oldest first, each with the reason."""
    request = gateway_pb2.ListDeadLettersRequest(topic=_topic(topic), show_replayed=replayed)
    with connect() as client:
        found = list(islice(iterate(client.events.ListDeadLetters, request), most))
    if json:
        return output.show_json(found)
    if not found:
        return output.say("No dead letters: every event was taken.")
    output.table(
        "",
        ("topic", "at", "event", "about", "set aside", "by", "replays", "why"),
        [
            (
                letter.topic.removeprefix(_OWN),
                f"{letter.partition}/{letter.offset}",
                letter.event_id,
                letter.key,
                output.when(letter.create_time),
                letter.consumer_group,
                f"{letter.replay_count}{', put back' if letter.replayed else ''}",
                letter.reason,
            )
            for letter in found
        ],
    )


@letters.command("replay")
def replay(
    topic: Annotated[str, typer.Argument(help="The topic that they go back to: feedback, predictions or registry.")],
    most: Annotated[int, typer.Option("--most", min=0, help="Put back at most this many. 0: all.")] = 0,
    json: Json = False,
) -> None:
    """Put the dead letters of a topic back on it, once the cause is cured. What fails again is a new dead letter."""
    request = gateway_pb2.ReplayDeadLettersRequest(topic=_topic(topic), max_count=most)
    with connect() as client:
        answer = client.events.ReplayDeadLetters(request)
    if json:
        return output.show_json(answer)
    done = answer.replayed_count
    output.done(f"{done:,} {'event was' if done == 1 else 'events were'} put back on {request.topic}.")
