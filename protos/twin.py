"""Writes the blocking client from the one for asyncio: the same lines without the words of asyncio.

`regrow/aio/*.py` is the source; `regrow/{calling,client,feedback_stream,paging,services}.py` are its twins, and nobody edits
them. So a method, its retries and its docstring are written once and there twice, and neither client runs on threads of the
other.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

TWINS = ("calling", "client", "feedback_stream", "paging", "services")
_NOTE = "# Made by `make protos` from regrow/aio/{name}.py, without the words of asyncio. Edit that file.\n"
_RULES = (
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bAwaitable\[([^\[\]]+)\]", r"\1"),
    (r"\b(_?)Async([A-Z])", r"\1\2"),
    (r"__a(enter|exit|iter|next)__", r"__\1__"),
    (r"\ba(iter|next)\(", r"\1("),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"\bgrpc\.aio\b", "grpc"),
    (r"\bregrow\.aio\.", "regrow."),
)


def write_twins(source: Path, target: Path) -> list[Path]:
    """Writes the twins of the files in `source` (`regrow/aio`) into `target`, formatted; answers their paths."""
    written = []
    for name in TWINS:
        text = (source / f"{name}.py").read_text()
        for pattern, replacement in _RULES:
            text = re.sub(pattern, replacement, text)
        path = target / f"{name}.py"
        path.write_text(_NOTE.format(name=name) + text)
        written.append(path)
    tidy(written)
    return written


def tidy(paths: list[Path]) -> None:
    """Sorts imports, drops those that nothing uses, and formats. Raises `CalledProcessError` for what is no Python."""
    config = ["--config", str(Path(__file__).parents[1] / "pyproject.toml")]
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run(
        [*ruff, "check", "--quiet", "--fix", "--unsafe-fixes", "--select", "F401,I,C416,UP028", *config, *map(str, paths)],
        check=True,
    )
    subprocess.run([*ruff, "format", "--quiet", *config, *map(str, paths)], check=True)
