"""The workflow of a regrowth: cut the feedback, train a challenger, compare it with the champion, promote or say why not.

Each step is idempotent and leaves in the regrowth's row what it found, so a crash loses nothing and the row always says why.
A step's outcome is plain data; one with `stop` ends the workflow in that state.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from regrow.registry.v1 import registry_pb2
from services.common import tracing
from services.common.database import Database
from services.common.errors import EtagMismatch, FailedPrecondition, NotFound, RegrowError
from services.common.objects.port import ObjectStore
from services.training.comparison import compare_bundles
from services.training.designs import Schedule, from_json
from services.training.durable import Durable
from services.training.peers import Labeling, Registry, request_id_of
from services.training.policies import storage
from services.training.policies.rules import REFUSALS, Policy, Regrowth, State, decide
from services.training.runs.handlers import Runs, Submission
from services.training.runs.rules import State as RunState
from services.training.runs.workflow import UNFORESEEN

log = structlog.get_logger()

Outcome = dict[str, Any]

_LOOK_EVERY_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RegrowthWorkflow:
    """The steps of a regrowth, with what they work on."""

    database: Database
    labeling: Labeling
    registry: Registry
    objects: ObjectStore
    durable: Durable
    runs: Runs
    work_dir: Path
    cut_time_limit: timedelta

    def __call__(self, name: str) -> None:
        """The workflow. `decide` always stops it, an earlier step may."""
        steps: dict[str, Callable[[str], Outcome]] = {
            "cut": self._cut, "train": self._train, "wait": self._wait, "compare": self._compare, "decide": self._decide,
        }  # fmt: skip
        outcome: Outcome = {}
        with tracing.caused_by(self.durable.patiently(lambda: self._cause(name)), "regrowth", regrowth=name):
            for step, work in steps.items():
                with tracing.step(f"regrowth {step}"):
                    outcome = self.durable.step(step, partial(self._guarded, name, work))
                if "stop" in outcome:
                    break
            self.durable.step("end", lambda: self.durable.patiently(lambda: self._end(name, outcome)))

    def _cause(self, name: str) -> tracing.TraceContext:
        with self.database.reading() as session:
            return storage.cause_of(session, name)

    def _guarded(self, name: str, work: Callable[[str], Outcome]) -> Outcome:
        """Errors that a user can understand are outcomes, too."""
        try:
            return self.durable.patiently(lambda: work(name))
        except RegrowError as error:
            return {"stop": State.REFUSED if error.reason in REFUSALS else State.FAILED, "why": error.message}
        except Exception:
            log.exception("a regrowth failed", regrowth=name)
            return {"stop": State.FAILED, "why": UNFORESEEN}

    def _cut(self, name: str) -> Outcome:
        """Asks labeling until it has applied all feedback before the cut. That feedback then no longer waits."""
        regrowth = self._read(name)
        base = self.registry.version(regrowth.champion).receipt.label_set
        if not base:
            raise FailedPrecondition(
                f"'{regrowth.champion}' was registered without a label set in its receipt, so there is nothing to grow from.",
                reason="NO_LABEL_SET",
            )
        deadline = time.monotonic() + self.cut_time_limit.total_seconds()
        while (outcome := self._asked_for_cut(regrowth, base)) is None:
            if time.monotonic() > deadline:
                raise FailedPrecondition(
                    f"Labeling did not apply the feedback before the cut within {self.cut_time_limit}.",
                    reason="CUT_TOO_LATE",
                )
            self.durable.pause(_LOOK_EVERY_SECONDS)
        return outcome

    def _asked_for_cut(self, regrowth: Regrowth, base: str) -> Outcome | None:
        """None where labeling isn't that far yet."""
        offsets = {(key.rsplit("/", 1)[0], int(key.rsplit("/", 1)[1])): offset for key, offset in regrowth.cut.items()}
        found: dict[str, Any] = {}
        try:
            answer = self.labeling.cut(
                model=regrowth.model, base_label_set=base, offsets=offsets, request_id=request_id_of("cut", regrowth.name)
            )
            found = {"label_set": answer.label_set, "feedback_votes": answer.feedback_votes, "state": State.TRAINING}
        except FailedPrecondition as error:
            if error.reason == "NOT_APPLIED_YET":
                return None
            if error.reason != "NO_FEEDBACK":
                raise
        with self.database.session() as session:
            storage.use_before(session, regrowth.model, {partition: offset for (_, partition), offset in offsets.items()})
            storage.note(session, regrowth.name, **found)
        if found:
            return {}
        nothing = "None of the new feedback means a row and a class of this model, so there is nothing to learn from."
        return {"stop": State.REFUSED, "why": f"{nothing} ListUnmatchedFeedback says why, piece by piece."}

    def _train(self, name: str) -> Outcome:
        """The champion's schedule, on all rows and labels up to the cut: nothing that was learned before is left out."""
        regrowth = self._read(name)
        schedule, template, seed = self._schedule_of(self.registry.version(regrowth.champion))
        project, _, policy = regrowth.policy.removeprefix("projects/").partition("/policies/")
        number = name.rsplit("/", 1)[1]
        asked = Submission(
            parent=f"projects/{project}", run_id=f"regrow-{policy[:36].rstrip('-')}-{number}-{secrets.token_hex(3)}",
            label_set=regrowth.label_set, model=regrowth.model, schedule=schedule, template=template, seed=seed, express=False,
            request_id=request_id_of("regrowth", name), fingerprint=name,
            origin={"champion": regrowth.champion, "feedback_offsets": dict(regrowth.cut)},
        )  # fmt: skip
        run = self.runs.create(asked)
        with self.database.session() as session:
            storage.note(session, name, run=run.name)
        return {}

    def _schedule_of(self, champion: registry_pb2.Version) -> tuple[Schedule, str, int]:
        if champion.run:
            with suppress(NotFound):
                run = self.runs.get(champion.run)
                return run.schedule, run.template, run.seed
        if not champion.receipt.HasField("schedule"):
            raise FailedPrecondition(
                f"The receipt of '{champion.name}' has no schedule to repeat. Promote a version that a run made.",
                reason="NO_SCHEDULE",
            )
        return from_json(_plain(champion.receipt.schedule)), "", champion.receipt.seed

    def _wait(self, name: str) -> Outcome:
        run = self._read(name).run
        while not (ended := self.runs.get(run)).state.ended:
            self.durable.pause(_LOOK_EVERY_SECONDS)
        if ended.state is RunState.CANCELLED:
            return {"stop": State.REFUSED, "why": f"The challenger's run '{run}' was cancelled."}
        if ended.state is RunState.FAILED:
            return {"stop": State.FAILED, "why": f"The challenger's run '{run}' failed. {ended.problem}"}
        with self.database.session() as session:
            storage.note(session, name, challenger=ended.version, state=State.COMPARING)
        return {}

    def _compare(self, name: str) -> Outcome:
        regrowth = self._read(name)
        label_set = self.labeling.label_set(regrowth.label_set)
        version = self.labeling.dataset_version(label_set.dataset_version)
        comparison = compare_bundles(
            self.objects,
            self.registry.version(regrowth.champion).bundle_digest,
            self.registry.version(regrowth.challenger).bundle_digest,
            version.object_key,
            label_set.object_key,
            self.work_dir / "cache",
            self._policy(regrowth).rules.significance,
        )
        with self.database.session() as session:
            storage.note(session, name, comparison=comparison.to_json())
        return {}

    def _decide(self, name: str) -> Outcome:
        regrowth = self._read(name)
        rules = self._policy(regrowth).rules
        decision = decide(rules, regrowth.comparison)
        if not decision.promote:
            return {"stop": State.REFUSED, "why": decision.why}
        alias = f"{regrowth.model}/aliases/{rules.alias}"
        current = self.registry.alias(alias)
        if current.version not in (regrowth.champion, regrowth.challenger):
            moved = f"Meanwhile '{rules.alias}' was moved to '{current.version}', which nobody compared with the challenger."
            return {"stop": State.REFUSED, "why": f"{moved} {decision.why}"}
        try:
            self.registry.set_alias(alias, version=regrowth.challenger, etag=current.etag, why=f"{name}: {decision.why}")
        except EtagMismatch:
            return {"stop": State.REFUSED, "why": f"Somebody moved '{rules.alias}' at the same moment. {decision.why}"}
        return {"stop": State.PROMOTED, "why": decision.why}

    def _end(self, name: str, outcome: Outcome) -> None:
        with self.database.session() as session:
            storage.note(session, name, state=State(outcome["stop"]), decision=str(outcome["why"]))
        log.info("regrowth ended", regrowth=name, state=str(outcome["stop"]), why=outcome["why"])

    def _read(self, name: str) -> Regrowth:
        with self.database.reading() as session:
            return storage.get_regrowth(session, name)

    def _policy(self, regrowth: Regrowth) -> Policy:
        with self.database.reading() as session:
            return storage.get_policy(session, regrowth.policy)


def _plain(value: Any) -> Any:
    """A protobuf struct as plain data; numbers that it made floats are whole again."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if hasattr(value, "items"):
        return {key: _plain(item) for key, item in value.items()}
    return value
