"""Settings of the registry service."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import CommonSettings


class RegistrySettings(CommonSettings):
    """Read from `REGROW_REGISTRY_*`, the common ones from `REGROW_*`."""

    model_config = SettingsConfigDict(env_prefix="REGROW_REGISTRY_")

    workers: int = Field(default=16, ge=1, le=256)
    """How many calls run at once. A download holds one while it lasts."""
