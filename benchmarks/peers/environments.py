"""Makes the environments of peer systems, apart from Regrow's: their packages exclude some of its own.

    python benchmarks/peers/environments.py                 all of them, about a minute
    python benchmarks/peers/environments.py triton          tritonclient alone, about 12 seconds

Each is a virtual environment under `benchmarks/peers/.environments/`, which git ignores, with the packages that `<name>.txt`
pins. One that is there is left alone, until its file changes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).parent
NAMES = ("triton", "kserve", "mlserver")
"""Triton's clients; KServe's clients and its Python server; MLServer."""
COMMAND = "python benchmarks/peers/environments.py"


def python_of(name: str) -> Path:
    """The interpreter of an environment, whether it was made or not."""
    return HOME / ".environments" / name / "bin" / "python"


def is_made(name: str) -> bool:
    """Whether the environment is there, complete and of the packages that are pinned now."""
    ready = _ready(name)
    return ready.exists() and ready.read_text() == _pins(name).read_text()


def make(name: str) -> None:
    """Makes one. Raises `CalledProcessError` where a package can't be installed."""
    folder = HOME / ".environments" / name
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    install = [
        python_of(name),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "-r",
        _pins(name),
    ]
    subprocess.run(install, check=True)
    _ready(name).write_text(_pins(name).read_text())


def _pins(name: str) -> Path:
    return HOME / f"{name}.txt"


def _ready(name: str) -> Path:
    return HOME / ".environments" / name / ".ready"


def main() -> None:
    """Command line; see the module's docstring."""
    names = sys.argv[1:] or list(NAMES)
    if unknown := set(names) - set(NAMES):
        raise SystemExit(f"There is no environment {', '.join(sorted(unknown))}. There are: {', '.join(NAMES)}.")
    for name in names:
        if not is_made(name):
            print(f"Making the environment {name}: {_pins(name).read_text().splitlines()[0].removeprefix('# ')}")
            make(name)


if __name__ == "__main__":
    main()
