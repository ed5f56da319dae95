"""The outputs of an inference, whichever way they leave: decided classes, probabilities, ids for feedback."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import orjson

from services.gateway.inference.prediction import Answer
from services.gateway.oip.asking import Wanted
from services.gateway.oip.tensors import Output

MOST_IDS = 100
"""Ids that fit in parameters and trailing metadata; the output `prediction_id` has them all."""
_MOST_WARNINGS = 20


def outputs(made: Answer, wanted: Sequence[Wanted]) -> list[Output]:
    """In the order in which they are wanted."""
    return [_output(made, one) for one in wanted]


def parameters(made: Answer) -> dict[str, str]:
    """What belongs to the whole answer: ids, the version's resource name, and what was odd about the rows."""
    found = {"version": made.loaded.target.name}
    if len(made.ids) == 1:
        found["prediction_id"] = made.ids[0]
    elif len(made.ids) <= MOST_IDS:
        found["prediction_ids"] = ",".join(made.ids)
    if any(made.predicted.warnings):
        found["warnings"] = orjson.dumps(list(islice(_warnings(made), _MOST_WARNINGS))).decode()
    return found


def _output(made: Answer, wanted: Wanted) -> Output:
    rows = len(made.ids)
    if wanted.name == "prediction_id":
        return Output("prediction_id", "BYTES", (rows,), made.ids)
    if wanted.name == "class":
        return Output("class", "BYTES", (rows,), _classes(made))
    if wanted.most:
        return _classified(made, wanted.most)
    probabilities = made.predicted.probabilities
    return Output("probabilities", "FP32", (rows, probabilities.shape[1]), probabilities)


def _classes(made: Answer) -> list[str]:
    """One class a row, empty for an abstention; of a multi-label model all that were decided for, as a JSON array."""
    if made.loaded.bundle.spec.multi_label:
        return [orjson.dumps(names).decode() for names in made.predicted.classes]
    return [names[0] if names else "" for names in made.predicted.classes]


def _classified(made: Answer, most: int) -> Output:
    """`value:index:label` of the largest probabilities, largest first, as Triton writes it."""
    names, probabilities = made.loaded.bundle.spec.class_names, made.predicted.probabilities
    most = min(most, len(names))
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :most]
    texts = [
        f"{probabilities[row, index]:.6f}:{index}:{names[index]}"
        for row, indexes in enumerate(order.tolist())
        for index in indexes
    ]
    return Output("probabilities", "BYTES", (len(probabilities), most), texts)


def _warnings(made: Answer) -> Iterator[dict[str, object]]:
    for row, told in enumerate(made.predicted.warnings):
        for one in told:
            yield {"row": row, "field": one.field, "problem": one.problem}
