"""Starts the service: `python -m services.labeling`. With `--check`, looks at all that it needs instead."""

from pathlib import Path

from services.common.checking import check_if_asked
from services.labeling.settings import LabelingSettings

check_if_asked(LabelingSettings, "labeling", Path(__file__).parent / "migrations")

from services.labeling.app import main  # noqa: E402 (a check may find that what this imports is missing)

main()
