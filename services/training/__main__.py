"""Starts the service: `python -m services.training`. `--help` tells what else it does."""

from pathlib import Path

from services.common.checking import check_if_asked
from services.common.command_line import read_command_line
from services.training.settings import TrainingSettings

read_command_line("training", "The training service: designs, runs, policies, regrowths and batch predictions, over gRPC.")
check_if_asked(TrainingSettings, "training", Path(__file__).parent / "migrations")

from services.training.app import main  # noqa: E402 (a check may find that what this imports is missing)

main()
