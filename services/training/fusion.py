"""Trains a late-fusion network across the splits: to know when to stop and how it does on rows that it hasn't seen.

With one slice, the network that stopped best on it is the model. With folds (few rows), a last network is trained on all
rows for as many epochs as the folds needed in the median.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from services.common.bundle.decision import Decision
from services.common.bundle.features import Feature, take
from services.training.calibration import calibrated_ways
from services.training.graphs import dense_graph, is_dense
from services.training.learning import Learned, Logits, Rows, Task
from services.training.loop import Epoch, train
from services.training.metrics import outcome_of, score
from services.training.network import Network, build, logits_of, with_terms
from services.training.splits import Split
from services.training.stacking import choose_strength, reads_terms, stack

EPOCHS_UNSEEN = 20
"""Passes where rows are too few to watch any apart."""


@dataclass(frozen=True, slots=True)
class NetworkModel:
    """A trained network."""

    network: Network
    example: Mapping[str, Feature]

    @property
    def heads(self) -> tuple[str, ...]:
        """One per modality, then `joint`."""
        return self.network.heads

    def logits(self, features: Mapping[str, Feature], rows: int) -> Logits:
        """`(rows, heads, classes)`."""
        return logits_of(self.network, features, np.arange(rows))

    def graph(self) -> bytes:
        """The ONNX graph; torch exports it where a recurrent network is in it."""
        if is_dense(self.network):
            return dense_graph(self.network)
        from services.training.export import network_graph

        return network_graph(self.network, self.example)

    def tensors(self) -> dict[str, npt.NDArray[np.float32]]:
        """The weights by name."""
        return {name: value.detach().numpy().copy() for name, value in self.network.state_dict().items()}


def learn(task: Task) -> Learned:
    """Trains on every split, and once more on all rows where the splits were folds."""
    passes = len(task.splits) + (len(task.splits) != 1)
    strength = choose_strength(task) if reads_terms(task) else None
    trained = [_pass(task, split, i, passes, strength) for i, split in enumerate(task.splits)]
    held = np.concatenate([split.held for split in task.splits] or [np.arange(0)])
    if len(trained) == 1:
        epochs, logits = trained[0].best, trained[0].logits[trained[0].best - 1]
        network, note = trained[0].network, f"Stopped at epoch {epochs} of at most {task.schedule.epochs}."
    else:
        epochs, over_folds = _best_epoch(task, trained, held) if trained else (EPOCHS_UNSEEN, None)
        last = _pass(task, task.everything, passes - 1, passes, strength, min(epochs, task.schedule.epochs))
        network, note = last.network, f"Trained on all rows for {epochs} epochs, which was best over the folds."
        logits = last.logits[-1] if over_folds is None else over_folds
    example = {modality: take({"": feature}, _two_rows(feature))[""] for modality, feature in task.features.items()}
    return Learned(model=NetworkModel(network, example), selected=held, selection_logits=logits, notes=[note])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """A trained network, its best epoch, and the held logits after each epoch."""

    network: Network
    best: int
    logits: list[Logits]


def _pass(task: Task, split: Split, index: int, passes: int, strength: float | None, epochs: int | None = None) -> _Pass:
    torch.manual_seed(task.seed)
    stacked = stack(task, split, strength) if strength is not None else None
    network = build(task.schedule.design, task.readers, task.targets.shape[1], task.schedule.dropout)
    stage = "all rows" if not len(split.held) else f"fold {index + 1} of {passes - 1}" if passes > 1 else "training"
    logits = list[Logits]()

    def on_epoch(epoch: Epoch) -> None:
        logits.append(epoch.held_logits)
        task.emit(_event(task, network.heads, split, epoch, stage, index, passes))

    best = train(
        network, stacked.features if stacked else task.features, task.targets, task.weights, split, task.schedule,
        epochs=epochs or task.schedule.epochs, loss_of=lambda z: _loss(task, network.heads, split.held, z),
        multi_label=task.spec.multi_label, seed=task.seed + index, on_epoch=on_epoch, cancelled=task.cancelled,
    )  # fmt: skip
    served = with_terms(network, stacked.weights) if stacked else network
    return _Pass(network=served, best=best, logits=logits)


def _best_epoch(task: Task, trained: list[_Pass], held: Rows) -> tuple[int, Logits]:
    """The epoch that is best over all folds together, and their logits then; a fold that stopped earlier keeps its last."""
    longest = max(len(one.logits) for one in trained)
    over_folds = [np.concatenate([one.logits[min(e, len(one.logits) - 1)] for one in trained]) for e in range(longest)]
    losses = [_loss(task, trained[0].network.heads, held, logits) for logits in over_folds]
    best = int(np.argmin(losses))
    return best + 1, over_folds[best]


def _loss(task: Task, heads: tuple[str, ...], held: Rows, logits: Logits) -> float:
    """The least calibrated loss of any way to answer: the heads overfit at different times."""
    ways = calibrated_ways(task.spec, heads, logits, task.targets[held], task.weights[held])
    return min(loss for loss, _ in ways.values())


def _event(
    task: Task, heads: tuple[str, ...], split: Split, epoch: Epoch, stage: str, index: int, passes: int
) -> dict[str, Any]:
    """Epochs count on through the passes, so that they rise from event to event."""
    event: dict[str, Any] = {
        "type": "epoch",
        "stage": stage,
        "epoch": index * task.schedule.epochs + epoch.number,
        "epochs": passes * task.schedule.epochs,
        "losses": {
            head: {"training": float(epoch.training[h]), "selection": None if epoch.held is None else float(epoch.held[h])}
            for h, head in enumerate(heads)
        },
        "metric": str(task.spec.metric),
        "selection": None,
        "best": epoch.best,
        "seconds": round(epoch.seconds, 3),
    }
    if epoch.held is not None:
        last = Decision(weights=tuple(float(h == len(heads) - 1) for h in range(len(heads))))
        p = last.probabilities(epoch.held_logits, task.spec.multi_label)
        event["selection"] = score(task.spec, outcome_of(task.spec, task.targets[split.held], p, None))
    return event


def _two_rows(feature: Feature) -> Rows:
    """Rows to trace the graph with: with one, a dynamic batch would be taken for a constant."""
    return np.array([0, min(1, len(feature) - 1)])
