"""What feedback means: which classes a label names, what it is about, and why it may be about nothing. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.common.spec import ProblemSpec, label_text

EVENT_SUBJECT = "event:"
"""Prefix of a subject that came with its own features."""


class Reason(StrEnum):
    """Why an event is unmatched."""

    UNKNOWN_PREDICTION = "UNKNOWN_PREDICTION"
    UNKNOWN_CLASS = "UNKNOWN_CLASS"
    UNREADABLE_FEATURES = "UNREADABLE_FEATURES"
    UNKNOWN_SPEC = "UNKNOWN_SPEC"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Origin:
    """Where in the log an event lies."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionEvent:
    """An answered prediction. `features` is JSON text of one object."""

    model: str
    prediction: str
    version: int
    features: str
    problem_spec: str
    dataset: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackEvent:
    """A label that was sent back. `features` is JSON text, or None where it names a prediction."""

    model: str
    event_id: str
    prediction: str
    features: str | None
    classes: tuple[str, ...]
    source: str
    problem_spec: str
    dataset: str
    accepted: datetime
    origin: Origin

    @property
    def subject(self) -> str:
        """What the label is about, named so that two labels about one thing are seen to be."""
        return self.prediction or f"{EVENT_SUBJECT}{self.event_id}"


class Vocabulary:
    """The words that a spec understands, looked up once for many events."""

    def __init__(self, spec: ProblemSpec) -> None:
        self._spec = spec
        self._indexes = spec.value_to_class()
        self.columns = frozenset(column.name for column in spec.inputs)

    def classes(self, labels: Sequence[str]) -> tuple[str, ...] | None:
        """The classes that labels mean, in the spec's order; None where one means no class or their number can't be."""
        found: set[int] = set()
        for label in labels:
            index = self._indexes.get(label_text(label) or "")
            if index is None:
                return None
            found.add(index)
        if not self._spec.multi_label and len(found) != 1:
            return None
        return tuple(self._spec.class_names[index] for index in sorted(found))

    def reads(self, features: Mapping[str, object]) -> bool:
        """Whether the features say anything that a model of this spec reads."""
        return any(features.get(name) not in (None, "") for name in self.columns)


def lies_before(offsets: Mapping[tuple[str, int], int], origin: Origin) -> bool:
    """Whether an event lies before these offsets; a partition that isn't named begins at its first record."""
    return origin.offset < offsets.get((origin.topic, origin.partition), 0)
