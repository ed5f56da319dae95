"""From the logits of several heads to calibrated probabilities.

Every network answers one logit vector per head (one per modality and a joint one). Which heads speak, how loudly, and how
sure the answer may sound was chosen on the selection slice; serving repeats it here, in the same code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

_TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """`weights` sum to 1, one per head. `thresholds`: per class, where the spec's metric asks for tuned ones."""

    weights: tuple[float, ...]
    temperature: float = 1.0
    thresholds: tuple[float, ...] | None = None

    def scores(self, logits: npt.NDArray[np.float32], multi_label: bool) -> Doubles:
        """`(rows, heads, classes)` logits -> `(rows, classes)` logits before temperature: of the heads' mean probability."""
        if len(self.weights) == 1:
            return logits[:, 0].astype(np.float64)
        speaking = [h for h, weight in enumerate(self.weights) if weight > 0]
        if len(speaking) == 1:
            return logits[:, speaking[0]].astype(np.float64)
        z = np.asarray(logits, dtype=np.float64)
        weights = np.array(self.weights)[None, :, None]
        mixed = np.clip((probabilities_of(z, multi_label) * weights).sum(axis=1), _TINY, 1.0 - _TINY)
        return np.asarray(np.log(mixed / (1.0 - mixed)) if multi_label else np.log(mixed))

    def probabilities(self, logits: npt.NDArray[np.float32], multi_label: bool) -> Doubles:
        """Calibrated `(rows, classes)` probabilities (temperature scaling, Guo et al. 2017)."""
        return probabilities_of(self.scores(logits, multi_label) / self.temperature, multi_label)


def probabilities_of(logits: Doubles, multi_label: bool) -> Doubles:
    """Softmax over the last axis, or independent sigmoids."""
    if multi_label:
        return 1.0 / (1.0 + np.exp(-np.clip(logits, -500, 500)))
    raised = np.exp(logits - np.maximum.reduce(logits, axis=-1, keepdims=True))
    return np.asarray(raised / np.add.reduce(raised, axis=-1, keepdims=True))
