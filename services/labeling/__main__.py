"""Starts the service: `python -m services.labeling`. `--help` tells what else it does."""

from pathlib import Path

from services.common.checking import check_if_asked
from services.common.command_line import read_command_line
from services.labeling.settings import LabelingSettings

read_command_line(
    "labeling", "The labeling service: data sets, problem specs, labelers, label sets, and the ledger of feedback, over gRPC."
)
check_if_asked(LabelingSettings, "labeling", Path(__file__).parent / "migrations")

from services.labeling.app import main  # noqa: E402 (a check may find that what this imports is missing)

main()
