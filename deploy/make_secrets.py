"""Makes the secrets that compose.yaml names: `python deploy/make_secrets.py [FOLDER]`, by default `deploy/secrets`.

Each is a file of its own. One that is there already is left as it is, so this can be run again after an upgrade brought a
new one; to rotate a secret, see docs/operations.md.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

SERVICES = ("registry", "labeling", "training", "gateway")
# The services run as user 10001 and compose mounts each file as it is: others may read them, once they are mounted. On this
# machine nobody but their owner gets through the folder.
FOLDER_MODE, FILE_MODE = 0o700, 0o644


def make(folder: Path) -> list[str]:
    """Writes what is missing and answers the names."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(FOLDER_MODE)
    made = [
        name
        for name in ("internal_token", "key_pepper", "minio_secret_key", "postgres_password", "grafana_password")
        if _write(folder / name, secrets.token_urlsafe(32))
    ]
    password = (folder / "postgres_password").read_text()
    for service in SERVICES:
        url = f"postgresql://regrow:{password}@postgres:5432/regrow_{service}"
        made += [f"{service}_database_url"] * _write(folder / f"{service}_database_url", url)
    return made


def _write(path: Path, content: str) -> bool:
    """Whether it wasn't there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    path.chmod(FILE_MODE)
    return True


def main() -> None:
    """Says what it made."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "secrets"
    made = make(folder)
    sys.stdout.write(f"{folder}: made {', '.join(made)}.\n" if made else f"{folder}: all are there already.\n")


if __name__ == "__main__":
    main()
