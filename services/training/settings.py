"""Settings of the training service."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import CommonSettings


class TrainingSettings(CommonSettings):
    """Read from `REGROW_TRAINING_*`, the common ones from `REGROW_*`."""

    model_config = SettingsConfigDict(env_prefix="REGROW_TRAINING_")

    workers: int = Field(default=32, ge=2, le=256)
    """How many calls run at once. Each watcher of a run holds one while it watches; watchers get half of them at most."""

    concurrent_runs: int = Field(default=1, ge=1, le=64)
    """How many runs train at once on this machine, each in a process of its own."""

    concurrent_batch_predictions: int = Field(default=1, ge=1, le=64)
    """How many batch predictions are computed at once on this machine, each in a process of its own."""

    executor: str = Field(default="training-1", pattern=r"^[A-Za-z0-9._-]{1,60}$")
    """The name of this process where several share one database. Keep it when it starts again: it takes up its own work."""

    checkpoint_dir: Path | None = None
    """The folder whose subfolders runs may name as Hugging Face checkpoints. Unset: no checkpoints."""

    run_time_limit: timedelta = timedelta(hours=12)
    """A run that takes longer is ended."""

    batch_prediction_time_limit: timedelta = timedelta(hours=24)
    """An attempt at a batch prediction that takes longer is ended."""

    outage_patience: timedelta = timedelta(hours=1)
    """How long a run, regrowth or batch prediction waits for an engine or a service that is away before it fails."""

    cut_time_limit: timedelta = timedelta(minutes=10)
    """How long a regrowth waits for labeling to apply the feedback before its cut."""

    @property
    def work_dir(self) -> Path:
        """Task files, logs of runs, and caches of vectors."""
        return self.data_dir.absolute() / "training"
