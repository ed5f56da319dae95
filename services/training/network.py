"""Late fusion: an encoder and a head per modality, and a joint head over all representations side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from services.common.bundle.encoder import Encoder
from services.common.bundle.features import Array, Feature, Reader, feed, take
from services.common.bundle.table import Table
from services.common.bundle.terms import Terms
from services.common.bundle.tokens import Vocabulary
from services.training.designs import Design
from services.training.linear import Weights
from services.training.representations.dense import LogitsEncoder, TableEncoder, TermsEncoder, VectorEncoder
from services.training.representations.gru import WordsEncoder

ModalityEncoder = LogitsEncoder | TermsEncoder | VectorEncoder | WordsEncoder | TableEncoder

_BATCH = 256


class Network(nn.Module):
    """Answers the logits of every head; which of them speak is decided later, on the selection slice.

    What the logits mean is the task layer's: softmax over classes (single-label) or a sigmoid each (multi-label). Loss and
    decision apply it; the graph answers logits.
    """

    def __init__(self, encoders: Mapping[str, ModalityEncoder], classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.encoders = nn.ModuleDict(dict(encoders))
        self.classifiers = nn.ModuleDict({m: nn.Linear(encoder.width, classes) for m, encoder in encoders.items()})
        self.joint = nn.Linear(sum(e.width for e in encoders.values()), classes) if len(encoders) > 1 else None

    @property
    def heads(self) -> tuple[str, ...]:
        """Names in the order of the logits."""
        return (*self.encoders, *(("joint",) if self.joint is not None else ()))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors that `forward` reads."""
        return tuple(name for encoder in self.encoders.values() for name in cast(ModalityEncoder, encoder).inputs)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Inputs by name -> `(rows, heads, classes)` logits."""
        represented = {
            modality: encoder(*(inputs[name] for name in cast(ModalityEncoder, encoder).inputs))
            for modality, encoder in self.encoders.items()
        }  # each (rows, width)
        logits = [self.classifiers[modality](vector) for modality, vector in represented.items()]
        if self.joint is not None:
            logits.append(self.joint(torch.cat(list(represented.values()), dim=1)))
        return torch.stack(logits, dim=1)


def build(design: Design, readers: list[Reader], classes: int, dropout: float) -> Network:
    """A network with fresh weights that reads what the readers answer."""
    encoders = {reader.modality: _encoder(design, reader, classes, dropout) for reader in readers}
    network = Network(encoders, classes)
    if isinstance(encoders.get("text"), LogitsEncoder):
        _begin_as_text(network, classes)
    return network


@torch.no_grad()
def _begin_as_text(network: Network, classes: int) -> None:
    """The text's logits are answers already: its head and the joint one begin with them, and the table is added as it helps."""
    for head, first in ((network.classifiers["text"], 0), (network.joint, _first_column(network, "text"))):
        if head is not None:
            weight, bias = cast(nn.Linear, head).weight, cast(nn.Linear, head).bias
            weight.zero_()
            weight[:, first : first + classes].fill_diagonal_(1.0)
            bias.zero_()


def _first_column(network: Network, modality: str) -> int:
    """Where a modality's representation begins among those that the joint head reads side by side."""
    names = list(network.encoders)
    return sum(cast(ModalityEncoder, network.encoders[name]).width for name in names[: names.index(modality)])


def with_terms(network: Network, weights: Weights) -> Network:
    """The network reading terms themselves, through the regression whose logits it was trained on."""
    text, bias = (torch.from_numpy(part.astype(np.float32)) for part in (weights.text, weights.bias))
    network.encoders["text"] = TermsEncoder(text, bias)
    return network


def _encoder(design: Design, reader: Reader, classes: int, dropout: float) -> ModalityEncoder:
    match reader.source:
        case Table():
            return TableEncoder(reader.source.width, design.tabular, dropout)
        case Terms():
            return LogitsEncoder(classes)
        case Vocabulary():
            return WordsEncoder(reader.source.size, dropout)
        case Encoder():
            return VectorEncoder(reader.source.width, dropout)


def tensors(features: Mapping[str, Feature], rows: npt.NDArray[np.int64] | None = None) -> dict[str, Tensor]:
    """The network's inputs of all rows, or of some."""
    arrays: dict[str, Array] = feed(features if rows is None else take(features, rows))
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@torch.no_grad()
def logits_of(network: Network, features: Mapping[str, Feature], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """`(rows, heads, classes)`, without dropout."""
    network.eval()
    parts = [network(tensors(features, rows[at : at + _BATCH])).numpy() for at in range(0, len(rows), _BATCH)]
    return np.concatenate(parts) if parts else np.zeros((0, len(network.heads), network.classes), dtype=np.float32)
