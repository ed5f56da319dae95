"""A check of the folder of checkpoints, which only training reads."""

from __future__ import annotations

import os
from collections.abc import Iterator

from services.common.checking.findings import Finding, ok, problem
from services.training.settings import TrainingSettings

_VARIABLE = "REGROW_TRAINING_CHECKPOINT_DIR"


def checkpoints(settings: TrainingSettings) -> Iterator[Finding]:
    """Nothing where none is named. A checkpoint is a folder in it that has a `config.json`."""
    folder = settings.checkpoint_dir
    if folder is None:
        return
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.X_OK):
        why = "can't be read" if folder.is_dir() else "is no folder"
        todo = "Put the checkpoints there, each in a folder of its own, or unset it: designs that name one can't be trained."
        yield problem(f"setting {_VARIABLE}", f"'{folder}' {why}.", todo)
        return
    count = sum((one / "config.json").is_file() for one in folder.iterdir())
    yield ok("checkpoints", f"{folder} has {count} checkpoints.")
