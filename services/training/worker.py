"""One run in a process of its own: `python -m services.training.worker TASK.json`; see `services.training.child`.

The task file holds `{"task": TrainingTask, "cache_dir": path}`; the result is `{"bundle_digest", "report"}`. SIGTERM cancels
at the next batch.
"""

from __future__ import annotations

import os

# Before numpy or torch load their thread pools: two pools that spin on two cores made a call 180 times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from services.common.objects import ObjectStore
from services.training.child import OnEvent, run_task
from services.training.fit import TrainingTask, fit


def _train(raw: Mapping[str, Any], objects: ObjectStore, on_event: OnEvent, cancelled: Callable[[], bool]) -> dict[str, Any]:
    result = fit(TrainingTask.from_json(raw["task"]), objects, on_event, Path(raw["cache_dir"]), cancelled)
    return {"bundle_digest": result.bundle_digest, "report": result.report}


if __name__ == "__main__":
    sys.exit(run_task(sys.argv[1:], "training-worker", "fit", _train))
