"""Starts the service: `python -m services.training`. `--help` tells what else it does."""

from collections.abc import Iterable
from pathlib import Path

from services.common.checking import Finding, check_if_asked
from services.common.command_line import read_command_line
from services.training.settings import TrainingSettings

read_command_line("training", "The training service: designs, runs, policies, regrowths and batch predictions, over gRPC.")


def _checkpoints(settings: TrainingSettings) -> Iterable[Finding]:
    from services.training.checking import checkpoints

    return checkpoints(settings)


check_if_asked(TrainingSettings, "training", Path(__file__).parent / "migrations", own={"checkpoints": _checkpoints})

from services.training.app import main  # noqa: E402 (a check may find that what this imports is missing)

main()
