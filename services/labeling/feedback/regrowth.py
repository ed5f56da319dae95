"""CutLabelSet: what the training service asks for at the start of a regrowth. Every step may be repeated (see `cuts`)."""

from __future__ import annotations

from dataclasses import replace

from services.common import names
from services.common.database import Database
from services.common.errors import InvalidField
from services.common.events.port import FEEDBACK, PREDICTIONS, EventLog
from services.labeling.datasets.handlers import Datasets
from services.labeling.feedback import cuts
from services.labeling.feedback.cuts import Cut, Offsets, Order, State
from services.labeling.feedback.handlers import MODEL
from services.labeling.feedback.lag import GROUP
from services.labeling.label_sets.handlers import LabelSets, get_label_set
from services.labeling.labelers.handlers import Labeler, get_labeler
from services.labeling.specs.handlers import get_spec
from services.labeling.votes.storage import hold

LABEL_SET = "projects/{project}/datasets/{dataset}/labelSets/{label_set}"
_MOST_ASKED = 1_000


class Regrowth:
    """Cuts label sets. Safe for many threads and processes; twins of one call end in one cut."""

    def __init__(self, database: Database, datasets: Datasets, label_sets: LabelSets, log: EventLog) -> None:
        self._database = database
        self._datasets = datasets
        self._label_sets = label_sets
        self._log = log
        self._asked: dict[str, Offsets] = {}
        """Where the predictions ended when a cut was first asked for; asked anew after a restart."""

    def cut(self, model: str, base_label_set: str, offsets: Offsets, *, request_id: str, fingerprint: str) -> Cut:
        """A label set that counts feedback about `model` before `offsets`, and the rows that it brought.

        Raises `FailedPrecondition` (`NOT_APPLIED_YET`, `NO_FEEDBACK`, `CUT_BEHIND`, and what a label set raises), `NotFound`,
        `InvalidField`, `RequestIdReused`.
        """
        order = self._order(model, base_label_set, offsets, request_id, fingerprint)
        cut = self._begin(order)
        if cut.state is State.PLANNED:
            cut = self._place(cut.id)
        if cut.state is State.PLACED:
            cut = self._aggregate(cut)
        self._asked.pop(_asked(model, request_id), None)
        return cut

    def _order(self, model: str, base_label_set: str, offsets: Offsets, request_id: str, fingerprint: str) -> Order:
        project = names.parse(MODEL, model, "model")["project"]
        base = names.parse(LABEL_SET, base_label_set, "base_label_set")
        if base["project"] != project:
            raise InvalidField("base_label_set", f"'{base_label_set}' belongs to another project than '{model}'.")
        if not request_id or len(request_id) > 100:
            raise InvalidField("request_id", "must have 1 to 100 characters: without it a repeated call would cut twice.")
        if len(self._asked) > _MOST_ASKED:
            self._asked.clear()
        return Order(
            model=model, base_label_set=base_label_set, dataset=f"projects/{project}/datasets/{base['dataset']}",
            offsets=offsets, request_id=request_id, fingerprint=fingerprint, reached=self._log.committed(GROUP, FEEDBACK),
            predictions=self._asked.setdefault(_asked(model, request_id), self._log.ends(PREDICTIONS)),
            reached_predictions=self._log.committed(GROUP, PREDICTIONS),
        )  # fmt: skip

    def _begin(self, order: Order) -> Cut:
        """The cut of an earlier call, or a new plan; what other cuts left half done is brought to its rows first."""
        while True:
            with self._database.session() as session:
                hold(session)
                if (known := cuts.find(session, order)) is not None:
                    return known
                get_label_set(session, order.base_label_set)
                if (left := cuts.unplaced(session, order.dataset)) is None:
                    return cuts.plan(session, order)
            self._place(left)

    def _place(self, cut_id: int) -> Cut:
        with self._database.reading() as session:
            base = get_label_set(session, cuts.read(session, cut_id).base_label_set)
            target = get_spec(session, base.order.problem_spec).target_column
        cuts.place(self._database, self._datasets, cut_id, target_column=target)
        with self._database.reading() as session:
            return cuts.read(session, cut_id)

    def _aggregate(self, cut: Cut) -> Cut:
        with self._database.reading() as session:
            base = get_label_set(session, cut.base_label_set).order
            sources = [name for name in cut.labelers if _votes_for(get_labeler(session, name), base.problem_spec)]
        labelers = tuple(dict.fromkeys([*base.labelers, *sources])) if base.labelers else ()
        order = replace(base, label_set_id="", dataset_version=cut.dataset_version, labelers=labelers)
        made = self._label_sets.create(order, up_to=cut.up_to, request_id=f"cut-{cut.id}", fingerprint=cut.fingerprint)
        with self._database.session() as session:
            return cuts.finish(session, cut.id, made.name)


def _asked(model: str, request_id: str) -> str:
    return f"{model} {request_id}"


def _votes_for(labeler: Labeler, problem_spec: str) -> bool:
    return labeler.problem_spec == problem_spec and labeler.retired is None
