"""What callers do with the ledger: write votes of people and other systems, list them, retract them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from services.common import names
from services.common.errors import InvalidField, NotFound
from services.common.listing import FIRST_PAGE, Asked
from services.labeling.datasets.storage import get_version
from services.labeling.labelers.handlers import Labeler, get_labeler
from services.labeling.specs.handlers import get_spec
from services.labeling.votes import ledger
from services.labeling.votes.ledger import Written
from services.labeling.votes.rules import Ballot, KeptVote, NewVote, check_votes
from services.labeling.votes.storage import hold

DATASET = "projects/{project}/datasets/{dataset}"
LABELER = "projects/{project}/labelers/{labeler}"
VOTE = "projects/{project}/datasets/{dataset}/votes/{vote}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VotePage:
    """One page of a list."""

    votes: tuple[KeptVote, ...]
    next_page_token: str


def write_votes(session: Session, dataset: str, votes: Sequence[NewVote]) -> Written:
    """Keeps all votes or none. Raises `InvalidFields` (`votes[3].row`), `NotFound` for the data set or a labeler."""
    names.parse(DATASET, dataset, "parent")
    row_count = get_version(session, dataset, None).row_count
    ballots = _ballots(session, dataset, votes)
    check_votes(votes, ballots, row_count=row_count)
    return ledger.append_votes(session, dataset, votes, ballots)


def list_votes(
    session: Session, dataset: str, ask: Asked = FIRST_PAGE, *, labeler: str = "", row: int | None = None
) -> VotePage:
    """Newest first, retracted ones too."""
    names.parse(DATASET, dataset, "parent")
    found, token = ledger.page_of_votes(session, dataset, ask, labeler=labeler, row=row)
    if not found:
        get_version(session, dataset, None)
    return VotePage(votes=tuple(found), next_page_token=token)


def retract_votes(session: Session, dataset: str, votes: Sequence[str], *, why: str) -> int:
    """Retracts what isn't retracted yet; answers how many. Raises `NotFound` for a name that is no vote of the data set."""
    names.parse(DATASET, dataset, "parent")
    positions = [_position(dataset, name, f"votes[{index}]") for index, name in enumerate(votes)]
    hold(session)
    known = ledger.known_positions(session, dataset, positions)
    for name, position in zip(votes, positions, strict=True):
        if position not in known:
            raise NotFound("vote", name)
    return ledger.retract(session, dataset, positions, why=why)


def voting_labeler(session: Session, dataset: str, name: str, *, field: str = "labeler", retired: bool = False) -> Labeler:
    """A labeler of the data set's project; a retired one only where `retired` is set. Raises `NotFound`, `InvalidField`."""
    if names.parse(LABELER, name, field)["project"] != names.parse(DATASET, dataset, "parent")["project"]:
        raise InvalidField(field, f"'{name}' belongs to another project than '{dataset}'.")
    labeler = get_labeler(session, name)
    if labeler.retired is not None and not retired:
        raise InvalidField(field, f"'{name}' is retired. Make a new labeler to go on voting.")
    return labeler


def _ballots(session: Session, dataset: str, votes: Sequence[NewVote]) -> dict[str, Ballot]:
    ballots: dict[str, Ballot] = {}
    for index, vote in enumerate(votes):
        if vote.labeler in ballots:
            continue
        field = f"votes[{index}].labeler"
        labeler = voting_labeler(session, dataset, vote.labeler, field=field)
        if labeler.kind not in ("human", "imported"):
            raise InvalidField(
                field, f"'{vote.labeler}' is of the kind '{labeler.kind}': its votes can't be written by others."
            )
        ballots[vote.labeler] = Ballot.of(vote.labeler, get_spec(session, labeler.problem_spec), gold=labeler.gold)
    return ballots


def _position(dataset: str, name: str, field: str) -> int:
    parts = names.parse(VOTE, name, field)
    if name != f"{dataset}/votes/{parts['vote']}":
        raise InvalidField(field, f"'{name}' is a vote on another data set than '{dataset}'.")
    return names.number(parts["vote"], field)
