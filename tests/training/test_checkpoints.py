"""Names of checkpoints that try to get out of the operator's folder, and files that may run code."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common.errors import FailedPrecondition, InvalidField
from services.training.representations.checkpoints import checkpoint_folder


def _checkpoint(folder: Path, *weights: str) -> Path:
    folder.mkdir(parents=True)
    for name in ("config.json", *weights):
        (folder / name).write_text("{}")
    return folder


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    _checkpoint(tmp_path / "outside", "model.safetensors")
    _checkpoint(tmp_path / "allowed" / "good", "model.safetensors")
    _checkpoint(tmp_path / "allowed-too", "model.safetensors")
    return tmp_path / "allowed"


def test_one_within_is_found_also_by_a_longer_way_and_by_a_link_that_stays_within(allowed: Path) -> None:
    good = allowed / "good"
    (allowed / "newest").symlink_to(good)
    assert {checkpoint_folder(name, allowed) for name in ("good", "good/", "./good", "good/../good", "newest")} == {good}


def test_no_name_leads_out_and_none_tells_what_is_there(allowed: Path, tmp_path: Path) -> None:
    (allowed / "link").symlink_to(tmp_path / "outside")
    (allowed / "loop").symlink_to(allowed / "loop")
    names = [
        "../outside", "good/../../outside", str(tmp_path / "outside"), "link", "../allowed-too", "../nothing", "/etc", "/",
        "..", "~", "$HOME", "good\0", "loop", "x" * 10_000, "../" * 100 + "etc", "file:///etc", "org/model",
        "https://example.com/model", "",
    ]  # fmt: skip
    for name in names:
        with pytest.raises(InvalidField) as refused:
            checkpoint_folder(name, allowed)
        assert refused.value.message == f"schedule.design.checkpoint: '{name[:200]}' is no checkpoint in the checkpoint folder."


def test_files_that_are_links_out_of_the_folder_are_not_read(allowed: Path, tmp_path: Path) -> None:
    sly = _checkpoint(allowed / "sly", "model.safetensors")
    (sly / "vocab.txt").symlink_to("/etc/passwd")
    with pytest.raises(InvalidField, match="links that lead out"):
        checkpoint_folder("sly", allowed)


@pytest.mark.parametrize("weights", ["pytorch_model.bin", "model.pt", "weights.pkl", "tf_model.h5", "flax_model.msgpack"])
def test_weights_that_may_be_code_are_refused(allowed: Path, weights: str) -> None:
    _checkpoint(allowed / "old", weights)
    with pytest.raises(InvalidField, match="no weights as safetensors"):
        checkpoint_folder("old", allowed)


def test_without_a_folder_there_is_none(allowed: Path) -> None:
    with pytest.raises(FailedPrecondition, match="REGROW_TRAINING_CHECKPOINT_DIR"):
        checkpoint_folder("good", None)
