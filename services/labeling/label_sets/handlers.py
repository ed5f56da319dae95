"""What can be done with label sets: make one of the ledger at a position, look it up, list them, export one with its rows."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from services.common import names
from services.common.database import Database
from services.common.errors import AlreadyExists, InvalidField
from services.common.frames.holdout import HoldoutRule
from services.common.frames.kinds import listed
from services.common.frames.label_sets import read_label_set, write_label_set
from services.common.frames.parquet import read_manifest
from services.common.frames.sniffing import Format
from services.common.idempotency import recall, remember
from services.common.listing import Asked
from services.common.objects.port import ObjectStore
from services.common.spec import ProblemSpec
from services.labeling.datasets.model import DATASET, Version, split_version_name
from services.labeling.datasets.storage import get_dataset, get_version
from services.labeling.label_sets import gathering, storage
from services.labeling.label_sets.exporting import export_label_set
from services.labeling.label_sets.making import Ingredients, Made, make
from services.labeling.label_sets.model import LABEL_SET, LabelSet, LabelSetOrder
from services.labeling.label_sets.twins import twins_of_holdout
from services.labeling.labelers.handlers import Labeler, Labelers, get_labeler
from services.labeling.labelers.storage import VoteBlock, applied_labelers, blocks_of, read_labelers, schema_digest
from services.labeling.request_ids import IdempotencyKey
from services.labeling.specs.handlers import get_spec, read_spec
from services.labeling.votes.ledger import newest_position, standing_votes

__all__ = ["LabelSet", "LabelSetOrder", "LabelSets", "get_label_set"]


def get_label_set(session: Session, name: str) -> LabelSet:
    """A label set by its full name. Raises `InvalidField`, `NotFound`."""
    names.parse(LABEL_SET, name)
    return storage.read_label_set(session, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """What an order means: the version, the spec, the labelers that count, and what to note about what doesn't.

    `rule` carved the holdout of the first `imported` rows; later ones were appended.
    """

    version: Version
    imported: int
    rule: HoldoutRule
    spec: ProblemSpec
    labelers: tuple[Labeler, ...]
    notes: tuple[str, ...]

    def noting(self, *notes: str) -> _Subject:
        """With more notes; empty ones say nothing."""
        return replace(self, notes=(*self.notes, *filter(None, notes)))


class LabelSets:
    """The label sets of all projects. Safe for many threads."""

    def __init__(self, database: Database, objects: ObjectStore, labelers: Labelers) -> None:
        self._database = database
        self._objects = objects
        self._labelers = labelers

    def create(
        self, order: LabelSetOrder, *, up_to: int | None = None, request_id: str = "", fingerprint: str = ""
    ) -> LabelSet:
        """Aggregates the ledger up to a position (None: now) into a new label set.

        Raises `AlreadyExists`, `InvalidField`, `NotFound`, `TooLarge`, `FailedPrecondition` (`NO_LABELS`, `ONE_CLASS`).
        """
        key = {"scope": f"{order.parent}/labelSets", "request_id": request_id, "fingerprint": fingerprint}
        name = self._name(order)
        with self._database.session() as session:
            if before := recall(session, IdempotencyKey, **key):
                return storage.read_label_set(session, before)
            if storage.exists(session, name):
                raise AlreadyExists("label set", name)
        made, position, subject = self._made(order, up_to)
        stored = self._stored(name, replace(order, dataset_version=subject.version.name), made, position, subject.notes)
        with self._database.session() as session:
            if before := recall(session, IdempotencyKey, **key):
                return storage.read_label_set(session, before)
            if storage.exists(session, name):
                raise AlreadyExists("label set", name)
            get_version(session, order.parent, subject.version.number)  # a data set that was deleted meanwhile gets none
            storage.add_label_set(session, stored)
            remember(session, IdempotencyKey, **key, result=name)
            return storage.read_label_set(session, name)

    def get(self, name: str) -> LabelSet:
        """Raises `InvalidField`, `NotFound`."""
        with self._database.reading() as session:
            return get_label_set(session, name)

    def list_label_sets(self, parent: str, ask: Asked) -> tuple[list[LabelSet], str]:
        """A page of a data set's label sets, newest first, and the token of the next. Raises `NotFound`."""
        names.parse(DATASET, parent, "parent")
        with self._database.reading() as session:
            get_version(session, parent, None)
            return storage.read_label_sets(session, parent, ask)

    def export(self, name: str, file_format: Format) -> Iterator[bytes]:
        """The rows that have a label, with it, as a file in chunks. Raises `NotFound` at the call."""
        with self._database.reading() as session:
            label_set = get_label_set(session, name)
            spec = get_spec(session, label_set.order.problem_spec)
            version = get_version(session, *split_version_name(label_set.order.dataset_version))
        frame = read_label_set(self._objects, label_set.object_key)
        return export_label_set(self._objects, version, spec, frame, file_format)

    def _name(self, order: LabelSetOrder) -> str:
        names.parse(DATASET, order.parent, "parent")
        chosen = names.check_id(order.label_set_id, "label_set_id") if order.label_set_id else f"set-{secrets.token_hex(5)}"
        return f"{order.parent}/labelSets/{chosen}"

    def _made(self, order: LabelSetOrder, up_to: int | None) -> tuple[Made, int, _Subject]:
        with self._database.reading() as session:
            subject = _subject(session, order)
            position = newest_position(session, order.parent) if up_to is None else up_to
            standing = standing_votes(session, order.parent, [labeler.name for labeler in subject.labelers], position)
        subject = self._keep_applied(subject)
        table, repeats = self._table(subject)
        human, undecided = gathering.human_gold(standing, subject.spec)
        rows, held = gathering.holdout_gold(table, human, subject.spec)
        blocks, whole = self._blocks(subject)
        given = Ingredients(
            spec=subject.spec, training=table.training, holdout=rows, holdout_gold=held,
            gold=gathering.training_gold(table, human, subject.spec, ignore_target=order.ignore_target_column),
            votes=gathering.gather_votes(
                self._objects, table, subject.spec, subject.labelers, blocks, standing, whole=whole
            ),
            gold_labelers=frozenset(labeler.name for labeler in subject.labelers if labeler.gold),
        )  # fmt: skip
        tied = f"{undecided:,} rows have contradicting gold answers and count as unlabeled." if undecided else ""
        return make(given, order.method), position, subject.noting(tied, repeats)

    def _table(self, subject: _Subject) -> tuple[gathering.Table, str]:
        """The rows, but for appended ones that repeat held-out ones; and a note that counts those."""
        table = gathering.read_table(self._objects, subject.version, subject.spec)
        twins = twins_of_holdout(self._objects, subject.version, subject.spec, subject.rule, imported=subject.imported)
        if not len(twins):
            return table, ""
        said = "row repeats a held-out row and is" if len(twins) == 1 else "rows repeat held-out rows and are"
        return table.without(twins), f"{len(twins):,} appended {said} not trained on."

    def _keep_applied(self, subject: _Subject) -> _Subject:
        """Programs that voted on the data set before vote on what came since; those that never did are left out."""
        programs = [labeler for labeler in subject.labelers if labeler.program is not None]
        with self._database.reading() as session:
            applied = applied_labelers(session, subject.version.dataset, [labeler.name for labeler in programs])
        outcomes = self._labelers.apply_to(subject.version, [labeler for labeler in programs if labeler.name in applied])
        notes = [f"'{_short(o.labeler)}' didn't vote on all rows: {o.problem}" for o in outcomes if o.problem]
        never = [labeler for labeler in programs if labeler.name not in applied]
        if never:
            notes.append(f"Not applied to this data set yet, so left out: {listed([_short(one.name) for one in never])}.")
        counted = tuple(labeler for labeler in subject.labelers if labeler not in never)
        return replace(subject, labelers=counted).noting(*notes)

    def _blocks(self, subject: _Subject) -> tuple[list[VoteBlock], set[str]]:
        parts = [part.digest for part in read_manifest(self._objects, subject.version.object_key).parts]
        schema = schema_digest(subject.version.schema)
        programs = [labeler.name for labeler in subject.labelers if labeler.program is not None]
        with self._database.reading() as session:
            found = blocks_of(session, subject.version.dataset, programs, parts=parts, schema=schema)
        whole = {name for name in programs if all((name, part) in found for part in parts)}
        return list(found.values()), whole

    def _stored(self, name: str, order: LabelSetOrder, made: Made, position: int, notes: Sequence[str]) -> LabelSet:
        project, dataset = names.parse(DATASET, order.parent).values()
        stored = write_label_set(self._objects, project=project, dataset=dataset, frame=made.frame)
        training = made.frame[~made.frame["holdout"]]
        return LabelSet(
            name=name, order=order, method_used=made.method, training_rows=len(training), gold_rows=int(training["gold"].sum()),
            holdout_rows=len(made.frame) - len(training), coverage=made.coverage, conflict=made.conflict,
            labeler_summaries=made.summaries, class_counts=made.classes, gold_accuracy=made.gold_accuracy, digest=stored.digest,
            object_key=stored.key, ledger_position=position, notes=(*made.notes, *notes),
        )  # fmt: skip


def _subject(session: Session, order: LabelSetOrder) -> _Subject:
    project = order.parent.split("/datasets/")[0]
    wanted = order.dataset_version or f"{order.parent}/versions/latest"
    dataset, number = split_version_name(wanted, "label_set.dataset_version")
    if dataset != order.parent:
        raise InvalidField("label_set.dataset_version", f"'{wanted}' is not a version of '{order.parent}'.")
    version = get_version(session, dataset, number)
    spec = read_spec(session, order.problem_spec, "label_set.problem_spec").spec
    if not spec.name.startswith(f"{project}/"):
        raise InvalidField("label_set.problem_spec", f"'{spec.name}' belongs to another project than '{order.parent}'.")
    rule, imported = get_dataset(session, dataset).holdout, get_version(session, dataset, 1).row_count
    found = (
        read_labelers(session, project, problem_spec=spec.name)
        if not order.labelers
        else [_chosen(session, name, spec, index) for index, name in enumerate(dict.fromkeys(order.labelers))]
    )
    retired = [_short(labeler.name) for labeler in found if labeler.retired is not None]
    return _Subject(
        version=version, imported=imported, rule=rule, spec=spec,
        labelers=tuple(labeler for labeler in found if labeler.retired is None),
        notes=(f"Retired, so left out: {', '.join(retired)}.",) if retired else (),
    )  # fmt: skip


def _chosen(session: Session, name: str, spec: ProblemSpec, index: int) -> Labeler:
    labeler = get_labeler(session, name)
    if labeler.problem_spec != spec.name:
        raise InvalidField(
            f"label_set.labelers[{index}]", f"'{name}' votes for '{labeler.problem_spec}', not for '{spec.name}'."
        )
    return labeler


def _short(name: str) -> str:
    return name.rpartition("/")[2]
