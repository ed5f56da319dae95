"""The check of the folder of checkpoints: what it finds, and what it says to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.training.checking import checkpoints
from services.training.settings import TrainingSettings


def settings(folder: Path | None) -> TrainingSettings:
    return TrainingSettings(checkpoint_dir=folder, internal_token="t")


def test_a_folder_of_checkpoints_that_isnt_there_is_a_problem_by_its_variable(tmp_path: Path) -> None:
    (found,) = checkpoints(settings(tmp_path / "nope"))
    assert (found.check, found.verdict) == ("setting REGROW_TRAINING_CHECKPOINT_DIR", "problem")
    assert str(tmp_path / "nope") in found.found and found.todo


@pytest.mark.parametrize("there", [0, 2])
def test_checkpoints_are_counted_and_none_are_asked_for(tmp_path: Path, there: int) -> None:
    for number in range(there):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "config.json").touch()
    (tmp_path / "notes").mkdir()
    (found,) = checkpoints(settings(tmp_path))
    assert found.verdict == "ok" and f"has {there} checkpoints" in found.found
    assert list(checkpoints(settings(None))) == []
