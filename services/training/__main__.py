"""Starts the service: `python -m services.training`. With `--check`, looks at all that it needs instead."""

from pathlib import Path

from services.common.checking import check_if_asked
from services.training.settings import TrainingSettings

check_if_asked(TrainingSettings, "training", Path(__file__).parent / "migrations")

from services.training.app import main  # noqa: E402 (a check may find that what this imports is missing)

main()
