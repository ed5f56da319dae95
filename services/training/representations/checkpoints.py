"""Where a checkpoint that a caller names lies: within the operator's folder, and with weights that are no code."""

from __future__ import annotations

from pathlib import Path

from services.common.errors import FailedPrecondition, InvalidField

FIELD = "schedule.design.checkpoint"
_SHOWN = 200


def checkpoint_folder(name: str, allowed: Path | None) -> Path:
    """The folder of a checkpoint below `allowed`, all links resolved.

    A name that leads out of there is answered as one of nothing, so that nobody learns what else is on the machine. Raises
    `InvalidField`, and `FailedPrecondition` where no folder is allowed.
    """
    if allowed is None:
        raise FailedPrecondition(
            "This training service has no checkpoint folder. Set REGROW_TRAINING_CHECKPOINT_DIR and put the checkpoint there.",
            reason="NO_CHECKPOINT_FOLDER",
        )
    shown = name[:_SHOWN]
    nothing = InvalidField(FIELD, f"'{shown}' is no checkpoint in the checkpoint folder.")
    try:
        root, folder = allowed.resolve(strict=True), (allowed / name).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):  # not there, a NUL or too long, links in a circle
        raise nothing from None
    if not folder.is_relative_to(root) or not (folder / "config.json").is_file():
        raise nothing
    if any(not path.resolve().is_relative_to(root) for path in folder.rglob("*")):
        raise InvalidField(FIELD, f"'{shown}' has links that lead out of the checkpoint folder. Copy the files instead.")
    if not any(folder.glob("*.safetensors")):
        raise InvalidField(
            FIELD, f"'{shown}' has no weights as safetensors, and other formats may run code. Save it with save_pretrained()."
        )
    return folder
