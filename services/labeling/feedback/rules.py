"""What feedback means: which classes a label names, what it is about, and why it may be about nothing. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeAlias

from services.common.spec import ProblemSpec, label_text

EVENT_SUBJECT = "event:"
"""Prefix of a subject that came with its own features."""
_PREDICTION_ID = re.compile(r"[0-9a-f]{32}")
_FIRST_PREDICTION, _LAST_PREDICTION = 1_577_836_800.0, 4_102_444_800.0  # the years 2020 to 2099


class Reason(StrEnum):
    """Why an event is unmatched."""

    UNKNOWN_PREDICTION = "UNKNOWN_PREDICTION"
    EXPIRED_PREDICTION = "EXPIRED_PREDICTION"
    UNKNOWN_CLASS = "UNKNOWN_CLASS"
    UNREADABLE_FEATURES = "UNREADABLE_FEATURES"
    UNKNOWN_SPEC = "UNKNOWN_SPEC"


WAITING = (Reason.UNKNOWN_PREDICTION, Reason.EXPIRED_PREDICTION)
"""Reasons that a prediction which comes after all puts an end to."""


class Fate(StrEnum):
    """What else can become of an event beside a vote that nothing is odd about. A vote may have several of the first three.

    `AMENDED`: its source said otherwise before about the same thing; what was observed last counts. `DISAGREED`: another source
    says otherwise; both are votes. `LATE`: a regrowth had counted the thing already; the next one counts this. `REPEATED`: the
    same event once more. `REUSED_ID`: another event under an id of the same source; the first one stands. `JOINED_LATER`: the
    prediction came after it.
    """

    AMENDED = "AMENDED"
    DISAGREED = "DISAGREED"
    LATE = "LATE"
    REPEATED = "REPEATED"
    REUSED_ID = "REUSED_ID"
    JOINED_LATER = "JOINED_LATER"


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


EventKey: TypeAlias = tuple[str, str, str]
"""Model, source, and the source's id of the event."""


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
    observed: datetime
    origin: Origin

    @property
    def key(self) -> EventKey:
        """What makes it the same event wherever it is met."""
        return self.model, self.source, self.event_id

    @property
    def subject(self) -> str:
        """What the label is about, named so that two labels about one thing are seen to be."""
        return self.prediction or f"{EVENT_SUBJECT}{self.source}/{self.event_id}"

    @property
    def fingerprint(self) -> str:
        """Of what it says: the same for the same thing said again, whenever."""
        features = None if self.features is None else json.loads(self.features)
        said = json.dumps([self.prediction, features, self.classes], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:32]


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


def predicted_at(prediction: str) -> datetime | None:
    """When a prediction was answered, by its id, which begins with the milliseconds; None for an id of another kind."""
    if not _PREDICTION_ID.fullmatch(prediction):
        return None
    seconds = int(prediction[:12], 16) / 1000
    return datetime.fromtimestamp(seconds, UTC) if _FIRST_PREDICTION <= seconds < _LAST_PREDICTION else None


def lies_before(offsets: Mapping[tuple[str, int], int], origin: Origin) -> bool:
    """Whether an event lies before these offsets; a partition that isn't named begins at its first record."""
    return origin.offset < offsets.get((origin.topic, origin.partition), 0)
