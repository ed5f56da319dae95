"""Settings of the labeling service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import CommonSettings


class LabelingSettings(CommonSettings):
    """Read from `REGROW_LABELING_*`, the common ones from `REGROW_*`."""

    model_config = SettingsConfigDict(env_prefix="REGROW_LABELING_")

    workers: int = Field(default=16, ge=1, le=256)
    """How many calls run at once. An import or an export holds one while it lasts."""

    most_import_bytes: int = Field(default=8 << 30, ge=1)
    """The largest file that an import takes, in bytes, packed and unpacked."""

    prediction_days: int = Field(default=30, ge=1)
    """How many days a prediction is kept for feedback that names it. Later feedback about it is unmatched."""

    scratch_dir: Path | None = None
    """Where uploads lie until they are read; needs about three times an upload's size. Unset: in the data folder."""

    @property
    def scratch(self) -> Path:
        """`scratch_dir`, else `<data_dir>/labeling-scratch`."""
        return self.scratch_dir or self.data_dir / "labeling-scratch"
