"""An inference request, whichever way it came: what is asked of which model, and which outputs are wanted."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from services.common.errors import InvalidField, Unsupported
from services.common.rpc.principal import current_call
from services.gateway.oip.names import Named
from services.gateway.oip.rows import TensorRows

OUTPUTS = ("class", "probabilities", "prediction_id")


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output by name. `most`: of `probabilities`, the so many largest as texts (Triton's classification extension)."""

    name: str
    most: int = 0
    binary: bool = False


ALL = tuple(Wanted(name) for name in OUTPUTS)
ALL_BINARY = tuple(Wanted(name, binary=True) for name in OUTPUTS)


class Asked(NamedTuple):
    """`name` is the model as the caller called it, `id` is sent back; `raw` where the answer's elements are to be bytes."""

    named: Named
    name: str
    id: str
    rows: TensorRows
    wanted: Sequence[Wanted]
    raw: bool


class Columns:
    """Collects the tensors of a request. All must have as many rows as the first."""

    def __init__(self) -> None:
        self.cells: dict[str, Sequence[object]] = {}
        self.count = 0

    def add(self, name: str, rows: int, path: str) -> None:
        """Takes a tensor's name and shape; its elements are put into `cells` by who reads them."""
        if not self.count:
            self.count = rows
        elif rows != self.count:
            raise InvalidField(f"{path}.shape", f"says {rows} rows, and that of the first input {self.count}.")
        if name in self.cells:
            raise InvalidField(f"{path}.name", f"'{name[:80]}' is there twice.")

    def rows(self, size: int) -> TensorRows:
        """All of them. Raises `InvalidField` where there is none."""
        if not self.count:
            raise InvalidField("inputs", "is empty: send a tensor for each column of the rows to predict.")
        return TensorRows(self.cells, self.count, size)


class Paths(NamedTuple):
    """What an error calls the parts of an input tensor."""

    tensor: str
    name: str
    datatype: str
    shape: str
    contents: str
    data: str
    raw: str


@lru_cache(maxsize=1024)
def paths(index: int) -> Paths:
    """Of the input at this place."""
    tensor = f"inputs[{index}]"
    return Paths(
        tensor, f"{tensor}.name", f"{tensor}.datatype", f"{tensor}.shape", f"{tensor}.contents", f"{tensor}.data",
        f"raw_input_contents[{index}]",
    )  # fmt: skip


def wanted(name: str, most: object, path: str, *, binary: bool = False) -> Wanted:
    """Raises `InvalidField` for an output that no model has."""
    if name not in OUTPUTS:
        raise InvalidField(f"{path}.name", f"'{name[:80]}' is none of the outputs: {', '.join(OUTPUTS)}.")
    if most is None:
        return Wanted(name, binary=binary)
    if name != "probabilities" or not isinstance(most, int) or isinstance(most, bool) or most < 0:
        raise InvalidField(f"{path}.parameters.classification", "is the number of classes to name, of output probabilities.")
    return Wanted(name, most, binary)


def refuse_shared_memory(parameters: Mapping[str, object], path: str) -> None:
    """Raises `Unsupported` where a tensor's elements lie or are wanted in shared memory."""
    if "shared_memory_region" in parameters:
        raise Unsupported(f"{path}: elements in shared memory aren't read: the gateway shares none. Send them in the request.")


def limit_time(microseconds: object) -> None:
    """Lets the call at hand end earlier, where the request says so."""
    if microseconds is None:
        return
    if not isinstance(microseconds, int) or isinstance(microseconds, bool) or microseconds < 0:
        raise InvalidField("parameters.timeout", "is a whole number of microseconds.")
    call = current_call()
    if microseconds and call is not None:
        end = time.monotonic() + microseconds / 1e6
        call.deadline = end if call.deadline is None else min(call.deadline, end)
