"""`regrow events`: what consumers of the event log set aside, and its way back."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from regrow import names
from regrow.cli import output
from regrow.cli.options import Json, connect
from regrow.gateway.v1 import gateway_pb2
from regrow.paging import iterate

app = typer.Typer(help="Events that no service could take: see why, and put them back.", no_args_is_help=True)
letters = typer.Typer(help="List, show and replay dead letters.", no_args_is_help=True)
app.add_typer(letters, name="dead-letters")

_OWN = "regrow."
_TOPICS = "feedback, feedback.in, predictions, registry or audit"


def _topic(word: str) -> str:
    """`feedback` is short for `regrow.feedback`."""
    return word if not word or word.startswith(_OWN) else _OWN + word


@letters.command("list")
def list_letters(
    topic: Annotated[str, typer.Option("--topic", help=f"Only those of this topic: {_TOPICS}.")] = "",
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
        ("id", "topic", "at", "event", "about", "set aside", "by", "replays", "why"),
        [
            (
                names.short(letter.name),
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


@letters.command("show")
def show(
    letter: Annotated[str, typer.Argument(help="Its id, as the list has it, such as 0-17.")],
    json: Json = False,
) -> None:
    """Show one event that was set aside, with the reason, its headers and its payload."""
    name = letter if letter.startswith("deadLetters/") else f"deadLetters/{letter}"
    with connect() as client:
        found = client.events.GetDeadLetter(gateway_pb2.GetDeadLetterRequest(name=name))
    if json:
        return output.show_json(found)
    output.facts({
        "why": found.reason, "set aside": output.when(found.create_time), "by": found.consumer_group,
        "from": f"{found.topic}, partition {found.partition}, offset {found.offset}", "event": found.event_id,
        "type": found.event_type, "about": found.key, "bytes": f"{found.size_bytes:,}", "put back": found.replayed or "",
        **{f"header {name}": value for name, value in sorted(found.headers.items())},
    })  # fmt: skip
    if found.payload_text:
        return output.say(f"\n{found.payload_text}")
    output.tell("Its payload is no text and nothing that Regrow wrote; --json has its bytes, in base64.")


@letters.command("replay")
def replay(
    topic: Annotated[str, typer.Argument(help=f"The topic that they go back to: {_TOPICS}.")],
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
