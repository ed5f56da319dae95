"""Programs vote on a data set version: part by part, in bounded memory, each part once.

What a labeler said of a part is kept under (labeler, part, schema); a call that was cut off goes on where it stopped. A labeler
that fails is left out from there on, and the others go on. Held-out rows are never shown to a program.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from services.common.database import Database
from services.common.errors import RegrowError, Unavailable
from services.common.frames.kinds import HOLDOUT, ROW
from services.common.frames.parquet import Part, read_manifest, read_part, root_of
from services.common.objects.port import ObjectStore
from services.common.spec import ProblemSpec
from services.labeling.datasets.model import Version
from services.labeling.labelers.blocks import RowVotes, join, write_block
from services.labeling.labelers.rules import Labeler, Sql, check_definition
from services.labeling.labelers.sandbox import SqlLimits
from services.labeling.labelers.storage import VoteBlock, add_block, blocks_of, schema_digest
from services.labeling.labelers.voting import Ballots, Voter, ready

log = structlog.get_logger()

_BATCH_ROWS = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one labeler did. `votes` are rows voted on; `problem` is empty where it did well."""

    labeler: str
    votes: int = 0
    reused: bool = False
    problem: str = ""


@dataclass(slots=True)
class _Progress:
    """One labeler underway: the blocks it has, and why it stopped."""

    labeler: Labeler
    blocks: dict[str, VoteBlock] = field(default_factory=dict)
    voted: bool = False
    problem: str = ""

    def outcome(self) -> Outcome:
        votes = sum(block.votes for block in self.blocks.values())
        return Outcome(labeler=self.labeler.name, votes=votes, reused=not self.voted and not self.problem, problem=self.problem)


class Applying:
    """Lets programs vote. Safe for many threads; two calls for the same labeler do the work twice and keep it once."""

    def __init__(self, database: Database, objects: ObjectStore, scratch: Path | None, limits: SqlLimits) -> None:
        self._database = database
        self._objects = objects
        self._scratch = scratch
        self._limits = limits

    def apply(self, version: Version, spec: ProblemSpec, labelers: Sequence[Labeler]) -> list[Outcome]:
        """One outcome per labeler, in their order."""
        manifest = read_manifest(self._objects, version.object_key)
        schema = schema_digest(version.schema)
        progress = [_Progress(labeler) for labeler in labelers]
        with self._database.reading() as session:
            parts = [part.digest for part in manifest.parts]
            known = blocks_of(session, version.dataset, [labeler.name for labeler in labelers], parts=parts, schema=schema)
        for one in progress:
            one.blocks = {part: block for (name, part), block in known.items() if name == one.labeler.name}
            if one.labeler.program is None:
                one.problem = f"is a {one.labeler.kind} labeler: its votes are written, it doesn't vote by itself."
        # Each SQL labeler is a process of its own, so those run one after the other; all others share one reading of the data.
        together = [one for one in progress if not isinstance(one.labeler.definition, Sql)]
        for group in [together, *([one] for one in progress if isinstance(one.labeler.definition, Sql))]:
            self._run(version, spec, list(manifest.parts), group)
        return [one.outcome() for one in progress]

    def _run(self, version: Version, spec: ProblemSpec, parts: Sequence[Part], group: Sequence[_Progress]) -> None:
        digests = {part.digest for part in parts}
        waiting = [one for one in group if not one.problem and digests - one.blocks.keys()]
        with ExitStack() as stack:
            voters: dict[str, Voter] = {}
            for one in waiting:
                with _telling(one):
                    assert one.labeler.program is not None
                    check_definition(one.labeler.program, spec, version.schema)  # columns may have changed since
                    voter = ready(one.labeler.program, spec, version.schema, self._scratch, self._limits)
                    voters[one.labeler.name] = stack.enter_context(voter)
            for part in parts:
                asked = [one for one in waiting if not one.problem and part.digest not in one.blocks]
                if asked:
                    self._vote_on(version, part, asked, voters)

    def _vote_on(self, version: Version, part: Part, asked: Sequence[_Progress], voters: dict[str, Voter]) -> None:
        columns = list(dict.fromkeys(name for one in asked for name in voters[one.labeler.name].columns))
        pieces: dict[str, list[RowVotes]] = {one.labeler.name: [] for one in asked}
        for batches in self._training_batches(version, part, columns):
            rows = np.concatenate([batch.column(ROW).to_numpy() for batch in batches])
            for one in asked:
                if not one.problem:
                    with _telling(one):
                        voter = voters[one.labeler.name]
                        pieces[one.labeler.name].append(_on_rows(voter.vote(batches), rows))
        for one in asked:
            if not one.problem:
                self._keep(version, part, one, join(pieces[one.labeler.name]))

    def _training_batches(self, version: Version, part: Part, columns: list[str]) -> Iterator[list[pa.RecordBatch]]:
        root = root_of(version.object_key)
        for batch in read_part(self._objects, root, part, version.schema, columns, batch_rows=_BATCH_ROWS):
            training = batch.filter(pc.invert(batch.column(HOLDOUT)))
            if training.num_rows:
                yield [training.drop_columns([HOLDOUT])]

    def _keep(self, version: Version, part: Part, one: _Progress, votes: RowVotes) -> None:
        block = write_block(self._objects, root_of(version.object_key), one.labeler.name, part.digest, votes)
        with self._database.session() as session:
            add_block(session, version.dataset, schema_digest(version.schema), block)
        one.blocks[part.digest] = block
        one.voted = True


class _telling:
    """Keeps what goes wrong in the block as the labeler's problem. Engines that are down stop the whole call."""

    def __init__(self, one: _Progress) -> None:
        self._one = one

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is None or isinstance(error, Unavailable) or not isinstance(error, Exception):
            return False
        if isinstance(error, RegrowError):
            self._one.problem = error.message
        else:
            log.error("labeler failed", labeler=self._one.labeler.name, exc_info=error)
            self._one.problem = "failed inside Regrow; its operator finds why in the logs."
        return True


def _on_rows(ballots: Ballots, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> RowVotes:
    size = len(ballots.at)
    return RowVotes(
        row=rows[ballots.at], cls=ballots.cls, against=np.full(size, ballots.against), complete=np.full(size, ballots.complete)
    )
