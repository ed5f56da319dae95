"""Makes `comments.csv` of the WRENCH files: `python convert.py SOURCE_DIR`, the folder with `train.json.gz` and the others."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

LABELS = {0: "ham", 1: "spam", -1: ""}
FUNCTIONS = 10
TARGET = Path(__file__).parent / "comments.csv"


def main(source: Path) -> None:
    with TARGET.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["split", "text", "label", *(f"lf_{i}" for i in range(FUNCTIONS))])
        for split in ("train", "valid", "test"):
            writer.writerows(_rows(source / f"{split}.json.gz", split))
    print(f"sha256 {hashlib.sha256(TARGET.read_bytes()).hexdigest()}")


def _rows(path: Path, split: str) -> Iterator[list[str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        comments = json.load(file)
    for key in sorted(comments, key=int):
        comment = comments[key]
        yield [split, comment["data"]["text"], LABELS[comment["label"]], *(LABELS[vote] for vote in comment["weak_labels"])]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
