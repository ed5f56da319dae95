"""The training loop: one pass after another, until the selection slice stops improving.

The loss is the sum of every head's loss, so each encoder learns from its own head and from the joint one, and the curves of
the modalities can be read apart.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from services.common.bundle.features import Feature
from services.common.errors import Cancelled
from services.training.designs import Schedule
from services.training.network import ModalityEncoder, Network, logits_of, tensors
from services.training.splits import Split

Losses = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One pass: mean losses per head, on what was trained and on the held rows (None without any), and the held logits."""

    number: int
    training: Losses
    held: Losses | None
    held_logits: npt.NDArray[np.float32]
    best: bool
    seconds: float


def train(
    network: Network,
    features: Mapping[str, Feature],
    targets: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float64],
    split: Split,
    schedule: Schedule,
    *,
    epochs: int,
    loss_of: Callable[[npt.NDArray[np.float32]], float],
    multi_label: bool,
    seed: int,
    on_epoch: Callable[[Epoch], None],
    cancelled: Callable[[], bool],
) -> int:
    """Trains in place and answers the best epoch, whose weights the network then has (without held rows: the last).

    `loss_of` judges the held rows' logits `(held, heads, classes)`. The step size is planned for the schedule's epochs,
    whether or not they are all run, so that ten epochs of sixty are the same ten everywhere.
    """
    shuffle = np.random.default_rng(seed)
    batch_size = schedule.batch_size or int(np.clip(len(split.train) // 10, 8, 128))
    steps = schedule.epochs * math.ceil(len(split.train) / batch_size)
    optimizer = torch.optim.AdamW(_groups(network, schedule), betas=(0.9, 0.95))
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps))
    wanted = torch.from_numpy(targets)  # (rows, classes)
    importance = torch.from_numpy((weights / weights[split.train].mean()).astype(np.float32))  # (rows,)
    best, best_loss, best_state = 0, math.inf, network.state_dict()

    for number in range(1, epochs + 1):
        started = time.perf_counter()
        network.train()
        total = torch.zeros(len(network.heads))
        order = shuffle.permutation(split.train)
        for at in range(0, len(order), batch_size):
            if cancelled():
                raise Cancelled("The run was cancelled while it trained.")
            batch = order[at : at + batch_size]
            losses = head_losses(network(tensors(features, batch)), wanted[batch], importance[batch], multi_label)  # (heads,)
            optimizer.zero_grad()
            losses.sum().backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            rate.step()
            total += losses.detach() * len(batch)

        held_logits = logits_of(network, features, split.held)  # (held, heads, classes)
        scored = head_losses(torch.from_numpy(held_logits), wanted[split.held], importance[split.held], multi_label)
        held = scored.numpy().astype(np.float64) if len(split.held) else None
        loss = math.inf if held is None else loss_of(held_logits)
        improved = held is None or loss < best_loss
        if improved:
            best, best_loss, best_state = number, loss, copy.deepcopy(network.state_dict())
        mean, took = (total / len(order)).numpy().astype(np.float64), time.perf_counter() - started
        on_epoch(Epoch(number=number, training=mean, held=held, held_logits=held_logits, best=improved, seconds=took))
        if number - best >= schedule.patience:
            break

    network.load_state_dict(best_state)
    return best


def head_losses(logits: Tensor, targets: Tensor, weights: Tensor, multi_label: bool) -> Tensor:
    """`(rows, heads, classes)` logits against soft `(rows, classes)` targets -> `(heads,)` weighted mean losses."""
    wanted = targets.unsqueeze(1)  # (rows, 1, classes)
    if multi_label:
        rows = functional.binary_cross_entropy_with_logits(logits, wanted.expand_as(logits), reduction="none").mean(dim=2)
    else:
        rows = -(wanted * functional.log_softmax(logits, dim=2)).sum(dim=2)  # (rows, heads)
    return (rows * weights.unsqueeze(1)).sum(dim=0) / weights.sum().clamp(min=1e-9)


def _groups(network: Network, schedule: Schedule) -> list[dict[str, Any]]:
    """A learning rate per modality: an embedding table wants a larger step than a table network."""
    groups = [{"params": list(network.classifiers.parameters()), "lr": schedule.learning_rate or 2e-3}]
    if network.joint is not None:
        groups.append({"params": list(network.joint.parameters()), "lr": schedule.learning_rate or 2e-3})
    for encoder in network.encoders.values():
        rate = schedule.learning_rate or cast(ModalityEncoder, encoder).learning_rate
        groups.append({"params": list(encoder.parameters()), "lr": rate})
    return [{**group, "weight_decay": schedule.weight_decay} for group in groups]


def _rate(progress: float) -> float:
    """One-tenth warm-up, then a cosine down to a tenth: fits any number of epochs without tuning."""
    return min(1.0, progress / 0.1 + 0.01) if progress < 0.1 else 0.1 + 0.45 * (1.0 + math.cos(math.pi * progress))
