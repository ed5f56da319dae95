"""Encoders of a network whose inputs are fixed per row: TF-IDF terms, frozen sentence vectors, the table.

Each names its inputs as `services.common.bundle.features.feed` does, and answers `(rows, width)`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from services.training.designs import Tabular

LAYERS: dict[Tabular, tuple[int, int]] = {
    Tabular.FFN_SMALL: (1, 64),
    Tabular.FFN_MEDIUM: (2, 128),
    Tabular.FFN_LARGE: (3, 256),
}
"""Hidden layers and their width."""


class LogitsEncoder(nn.Module):
    """Passes on what a fitted logistic regression of the terms says; used while the rest of the network is trained."""

    inputs: tuple[str, ...] = ("text",)
    learning_rate = 2e-3

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.width = classes

    def forward(self, logits: Tensor) -> Tensor:
        """`(rows, classes)`, as it came."""
        return logits


class TermsEncoder(nn.Module):
    """That logistic regression itself, frozen: takes the place of `LogitsEncoder` in the network that is served."""

    inputs: tuple[str, ...] = ("text_index", "text_value")
    learning_rate = 2e-3

    def __init__(self, weights: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights, requires_grad=False)  # (terms, classes)
        self.bias = nn.Parameter(bias, requires_grad=False)  # (classes,)
        self.width = int(weights.shape[1])

    def forward(self, index: Tensor, value: Tensor) -> Tensor:
        """`(rows, terms of the longest)` numbers and weights -> `(rows, classes)`."""
        return (self.weights[index] * value.unsqueeze(-1)).sum(dim=1) + self.bias


class VectorEncoder(nn.Module):
    """One layer over frozen vectors of length 1, scaled so that a component has variance 1."""

    inputs: tuple[str, ...] = ("text",)
    learning_rate = 1e-3

    def __init__(self, vector: int, dropout: float, width: int = 128) -> None:
        super().__init__()
        self.vector = vector
        self.scale = math.sqrt(vector)
        self.layers = nn.Sequential(nn.Dropout(dropout), nn.Linear(vector, width), nn.SiLU(), nn.Dropout(dropout))
        self.width = width

    def forward(self, vectors: Tensor) -> Tensor:
        """`(rows, vector)` -> `(rows, width)`."""
        answer: Tensor = self.layers(vectors * self.scale)
        return answer


class TableEncoder(nn.Module):
    """A feed-forward network over the scaled table, beside the table itself: heads see both (wide and deep, Cheng et al. 2016).

    `linear` passes the table through alone.
    """

    inputs: tuple[str, ...] = ("table",)
    learning_rate = 2e-3

    def __init__(self, table: int, kind: Tabular, dropout: float) -> None:
        super().__init__()
        self.table = table
        depth, width = LAYERS.get(kind, (0, table))
        layers: list[nn.Module] = []
        for layer in range(depth):
            layers += [nn.Linear(table if layer == 0 else width, width), nn.SiLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers) if layers else None
        self.width = width + table if layers else table

    def forward(self, table: Tensor) -> Tensor:
        """`(rows, columns)` -> `(rows, width)`."""
        return table if self.layers is None else torch.cat([self.layers(table), table], dim=1)
