"""One batch prediction in a process of its own, without torch; see `services.training.child`.

The task file holds `{"task": ScoringTask, "cache_dir": path}`; the result is `{"notes"}`. SIGTERM cancels at the next batch of
rows: what was finished stays.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from services.common.objects import ObjectStore
from services.training.batch_predictions.scoring import ScoringTask, score
from services.training.child import OnEvent, run_task


def _score(raw: Mapping[str, Any], objects: ObjectStore, on_event: OnEvent, cancelled: Callable[[], bool]) -> dict[str, Any]:
    return {"notes": score(ScoringTask.from_json(raw["task"]), objects, Path(raw["cache_dir"]), on_event, cancelled)}


if __name__ == "__main__":
    sys.exit(run_task(sys.argv[1:], "batch-prediction-worker", "score", _score))
