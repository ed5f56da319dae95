"""The parent's side of the child process that runs a user's SQL expression: starts it, feeds it, ends it in time.

The child (`sql_child.py`) bounds its own memory and processor time; the clock on the wall is kept here. Rows go in and
votes come out as Arrow stream files in a folder of their own. Whatever goes wrong is one `UnsafeExpression` with a cure.
"""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from services.common.errors import UnsafeExpression
from services.common.frames.kinds import Schema, listed
from services.common.frames.parquet import arrow_schema

CHILD = Path(__file__).with_name("sql_child.py")
_TABLE = "rows"
_NOTHING = "nothing is read"
# The child's limit counts address space, and allocators reserve much: without these 2 GB before any row is read, with them .4.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "ARROW_IO_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MIMALLOC_DISALLOW_ARENA_ALLOC": "1",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlLimits:
    """What one expression may use. `step_seconds` is for one part of the data (at most 65,536 rows)."""

    memory_bytes: int = 1 << 30
    step_seconds: float = 60.0
    start_seconds: float = 30.0
    cpu_seconds: int = 3_600
    file_bytes: int = 256 << 20


class Sandbox:
    """One expression in one child process. Not safe for two threads at once."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, limits: SqlLimits) -> None:
        self._process = process
        self._folder = folder
        self._limits = limits
        self.columns: tuple[str, ...] = ()

    def prepare(self, expression: str, schema: Schema, hidden: str, *, boolean: bool) -> None:
        """Checks the expression against the columns it may see. Raises `UnsafeExpression`."""
        answer = self._ask({"do": "check", "expression": expression}, self._limits.start_seconds)
        self.columns = _resolved(answer["columns"], schema, hidden)
        empty = arrow_schema(schema).empty_table().select(list(self.columns))
        self._write("empty.arrow", [_with_something(batch) for batch in empty.to_batches() or [_empty_batch(empty.schema)]])
        self._ask({"do": "bind", "input": str(self._folder / "empty.arrow"), "boolean": boolean}, self._limits.start_seconds)

    def vote(self, batches: Sequence[pa.RecordBatch]) -> pa.ChunkedArray:
        """The expression's answer for each row of the batches, which have `columns`. Raises `UnsafeExpression`."""
        self._write("rows.arrow", [_with_something(batch.select(list(self.columns))) for batch in batches])
        output = self._folder / "votes.arrow"
        output.unlink(missing_ok=True)
        self._ask({"do": "vote", "input": str(self._folder / "rows.arrow"), "output": str(output)}, self._limits.step_seconds)
        with pa.OSFile(str(output)) as source, pa.ipc.open_stream(source) as reader:
            return reader.read_all().column("vote")

    def _write(self, name: str, batches: Sequence[pa.RecordBatch]) -> None:
        with pa.OSFile(str(self._folder / name), "wb") as sink, pa.ipc.new_stream(sink, batches[0].schema) as writer:
            for batch in batches:
                writer.write_batch(batch)

    def _ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._memory() from None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(timeout=seconds):
                self._process.kill()
                raise UnsafeExpression(
                    f"The expression took longer than {seconds:g} seconds and was stopped. Make it cheaper: no long ranges, "
                    "no large repeats.", limit="time",
                )  # fmt: skip
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {"memory": True}
        if answer.get("memory"):
            raise self._memory()
        if "problem" in answer:
            at = f"At character {answer['position']}, the" if (answer["position"] or 0) > 0 else "The"
            raise UnsafeExpression(f"{at} expression {answer['problem'].rstrip('.')}.", limit="rules")
        return answer

    def _memory(self) -> UnsafeExpression:
        return UnsafeExpression(
            f"The expression needed more than {self._limits.memory_bytes >> 20:,} MiB of memory and was stopped. "
            "Make it smaller: no long ranges, no large repeats.", limit="memory",
        )  # fmt: skip


@contextmanager
def sandbox(scratch: Path | None, limits: SqlLimits) -> Iterator[Sandbox]:
    """A fresh child process, ended with the block."""
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    bounds = {"memory_bytes": limits.memory_bytes, "cpu_seconds": limits.cpu_seconds, "file_bytes": limits.file_bytes}
    with tempfile.TemporaryDirectory(prefix="sql-", dir=scratch) as folder:
        process = subprocess.Popen(
            [sys.executable, "-I", str(CHILD), json.dumps(bounds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder, env=_ENVIRONMENT,
        )  # fmt: skip
        try:
            yield Sandbox(process, Path(folder).absolute(), limits)
        finally:
            process.kill()
            process.communicate()


def _resolved(references: Sequence[Sequence[str]], schema: Schema, hidden: str) -> tuple[str, ...]:
    """The columns that the references name, in the order of the schema. SQL names don't tell capitals apart."""
    visible = [name for name in schema.names if name != hidden]
    found: set[str] = set()
    for parts in references:
        named = parts[1:] if len(parts) == 2 and parts[0].lower() == _TABLE else parts
        same = [name for name in visible if len(named) == 1 and name.lower() == named[0].lower()]
        if not same and len(named) == 1 and hidden and named[0].lower() == hidden.lower():
            raise UnsafeExpression(f"The expression reads '{hidden}', the target: labelers never see it.", column=hidden)
        if not same:
            shown = ".".join(named)[:60]
            raise UnsafeExpression(
                f"The expression reads '{shown}', which is no column (texts stand in single quotes). "
                f"The columns are: {listed(visible)}.",
                column=shown,
            )
        found.update([named[0]] if named[0] in same else same)
    return tuple(name for name in visible if name in found)


def _with_something(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch without columns would lose its number of rows."""
    return batch if batch.num_columns else pa.RecordBatch.from_arrays([pa.nulls(batch.num_rows, pa.bool_())], [_NOTHING])


def _empty_batch(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
