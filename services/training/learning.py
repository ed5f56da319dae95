"""What learning takes and answers, whatever the design: `brew` and `fusion` both turn a `Task` into a `Learned`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from services.common.bundle.features import Feature, Reader
from services.common.errors import Cancelled
from services.common.spec import ProblemSpec
from services.training.designs import Schedule
from services.training.splits import Split

Rows = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]
Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The training rows as features, what is wanted of each, and the splits to choose on (none where rows are too few)."""

    spec: ProblemSpec
    schedule: Schedule
    seed: int
    readers: list[Reader]
    features: Mapping[str, Feature]
    targets: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float64]
    groups: npt.NDArray[np.uint64]
    splits: list[Split]
    emit: Emit
    cancelled: Callable[[], bool]

    @property
    def everything(self) -> Split:
        """All rows to fit on, none held."""
        return Split(train=np.arange(len(self.targets)), held=np.arange(0))

    def stop_if_cancelled(self) -> None:
        """Raises `Cancelled` where the run was cancelled."""
        if self.cancelled():
            raise Cancelled("The run was cancelled while it trained.")


class Model(Protocol):
    """A trained model, whatever made it."""

    @property
    def heads(self) -> tuple[str, ...]:
        """Names in the order of the logits."""
        ...

    def logits(self, features: Mapping[str, Feature], rows: int) -> Logits:
        """`(rows, heads, classes)`."""
        ...

    def graph(self) -> bytes:
        """The ONNX graph: features by input name to `logits (rows, heads, classes)`."""
        ...

    def tensors(self) -> dict[str, npt.NDArray[np.float32]]:
        """The weights by name."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """The model, and what models that hadn't seen them answered for the selection rows.

    `reads` names the modalities that the model needs; None: all of them.
    """

    model: Model
    selected: Rows
    selection_logits: Logits
    notes: list[str] = field(default_factory=list)
    reads: tuple[str, ...] | None = None
