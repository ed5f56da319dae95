"""When a policy fires, and whether a challenger is promoted. Pure: all the judgement of continuous training is here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from services.common.errors import FieldProblem, InvalidFields

POLICY = "projects/{project}/policies/{policy}"
REGROWTH = "projects/{project}/policies/{policy}/regrowths/{regrowth}"
DEFAULT_ALIAS = "champion"
DEFAULT_SIGNIFICANCE = 0.05

REFUSALS = frozenset({"TOO_FEW_HOLDOUT_ROWS", "SPECS_DIFFER"})
"""Reasons of errors by which a challenger isn't promoted although nothing broke."""

_FIRST_PAUSE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(hours=6)


class State(StrEnum):
    """Where a regrowth is."""

    CUTTING = "cutting"
    TRAINING = "training"
    COMPARING = "comparing"
    PROMOTED = "promoted"
    REFUSED = "refused"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self in (State.PROMOTED, State.REFUSED, State.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a user sets. Times in seconds; 0 switches a trigger off."""

    alias: str = DEFAULT_ALIAS
    feedback_count: int = 0
    max_age_seconds: float = 0.0
    min_interval_seconds: float = 0.0
    tolerance: float = 0.0
    significance: float = DEFAULT_SIGNIFICANCE
    promote_on_tie: bool = False
    paused: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain data, as the database keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Rules:
        """Inverse of `to_json`."""
        return cls(**raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A model's policy, with the feedback that waits."""

    name: str
    model: str
    rules: Rules
    etag: str
    created: datetime
    pending: int = 0
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Regrowth:
    """One pass of the loop. `cut` maps `topic/partition` to the offset of the first record that isn't counted."""

    name: str
    policy: str
    model: str
    state: State
    trigger: str
    cut: Mapping[str, int]
    label_set: str
    feedback_votes: int
    run: str
    champion: str
    challenger: str
    comparison: Mapping[str, Any]
    decision: str
    created: datetime
    ended: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a policy's regrowths were like: when the newest began and ended, and how many of the newest failed in a row."""

    started: datetime | None = None
    ended: datetime | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether to promote, and why, in a sentence."""

    promote: bool
    why: str


def check(rules: Rules) -> Rules:
    """Answers the rules if they can work. Raises `InvalidFields`."""
    problems = []
    if not rules.feedback_count and not rules.max_age_seconds and not rules.paused:
        problems.append(("feedback_count", "set this or max_age: with neither, the policy never fires (or set paused)."))
    for field, value in (("max_age", rules.max_age_seconds), ("min_interval", rules.min_interval_seconds)):
        if value < 0:
            problems.append((field, "must not be negative."))
    if not 0 < rules.significance < 0.5:
        problems.append(("significance", "must be above 0 and below 0.5."))
    if problems:
        raise InvalidFields([FieldProblem(field=f"policy.{field}", problem=problem) for field, problem in problems])
    return rules


def why_now(policy: Policy, now: datetime, history: History) -> str | None:
    """Why a regrowth starts now, or None where it doesn't."""
    rules = policy.rules
    if rules.paused or policy.pending == 0 or not _rested(rules, now, history):
        return None
    if rules.feedback_count and policy.pending >= rules.feedback_count:
        return f"{policy.pending} new feedback labels came, and the policy asks for {rules.feedback_count}."
    if rules.max_age_seconds and policy.oldest is not None:
        age = (now - policy.oldest).total_seconds()
        if age >= rules.max_age_seconds:
            waits = f"The oldest of {policy.pending} new feedback labels waits for {age:.0f} s"
            return f"{waits}, and the policy allows {rules.max_age_seconds:.0f} s."
    return None


def pause_after(failures: int) -> timedelta:
    """How long a policy rests after so many failures in a row: what broke once breaks again, and each try costs a training."""
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(failures - 1, 16)) if failures else timedelta(0)


def decide(rules: Rules, comparison: Mapping[str, Any]) -> Decision:
    """The gate: promote what is shown to be better and, where the policy says so, what is no worse within the tolerance.

    `comparison` has `difference` (more is better), `p_value` (one-sided, of "no better") and `sentence`. A difference that
    isn't a number, for a metric that isn't defined on these rows, shows nothing.
    """
    difference, p_value = float(comparison["difference"]), float(comparison["p_value"])
    said = str(comparison["sentence"])
    if difference > 0 and p_value < rules.significance:
        return Decision(promote=True, why=said)
    if rules.promote_on_tie and difference >= -rules.tolerance:
        return Decision(
            promote=True, why=f"{said} It is within the policy's tolerance of {rules.tolerance:g}, which is enough."
        )
    return Decision(promote=False, why=said)


def _rested(rules: Rules, now: datetime, history: History) -> bool:
    if history.started is not None and now - history.started < timedelta(seconds=rules.min_interval_seconds):
        return False
    return history.ended is None or now - history.ended >= pause_after(history.failures)
