"""What a label set is and what is asked for when one is made. Pure: no storage, no protos."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from services.labeling.aggregation.choice import Method

LABEL_SET = "projects/{project}/datasets/{dataset}/labelSets/{label_set}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSetOrder:
    """What is to be aggregated. Empty `label_set_id`: made by Regrow; empty `dataset_version`: the newest; no labelers: all."""

    parent: str
    problem_spec: str
    label_set_id: str = ""
    dataset_version: str = ""
    method: Method = Method.AUTOMATIC
    labelers: tuple[str, ...] = ()
    ignore_target_column: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelerSummary:
    """What aggregation learned of one labeler. Shares are of training rows, of its votes, of its gold votes."""

    labeler: str
    votes: int
    coverage: float
    conflict: float
    learned_accuracy: float | None = None
    gold_votes: int = 0
    gold_accuracy: float | None = None
    gold_accuracy_low: float | None = None
    gold_accuracy_high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCount:
    """How many rows a class has."""

    class_name: str
    training_rows: int
    gold_rows: int
    holdout_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSet:
    """One aggregation of votes. `order` is what was asked for, its names filled in."""

    name: str
    order: LabelSetOrder
    method_used: Method
    training_rows: int
    gold_rows: int
    holdout_rows: int
    coverage: float
    conflict: float
    labeler_summaries: tuple[LabelerSummary, ...]
    class_counts: tuple[ClassCount, ...]
    gold_accuracy: float | None
    digest: str
    object_key: str
    ledger_position: int
    notes: tuple[str, ...]
    created: datetime | None = None
    id: int = 0

    def to_json(self) -> str:
        """All but id and time, as stored."""
        content = asdict(self)
        del content["created"], content["id"]
        return json.dumps(content, ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, *, id: int, created: datetime) -> LabelSet:
        """Inverse of `to_json`."""
        content: Mapping[str, Any] = json.loads(text)
        order = content["order"]
        return cls(
            **{
                **content,
                "order": LabelSetOrder(**{**order, "method": Method(order["method"]), "labelers": tuple(order["labelers"])}),
                "method_used": Method(content["method_used"]),
                "labeler_summaries": tuple(LabelerSummary(**one) for one in content["labeler_summaries"]),
                "class_counts": tuple(ClassCount(**one) for one in content["class_counts"]),
                "notes": tuple(content["notes"]),
                "created": created,
                "id": id,
            }
        )
