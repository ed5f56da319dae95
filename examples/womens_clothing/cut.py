"""Cuts `reviews.csv` out of the women's clothing reviews: `python cut.py SOURCE_DIR`, the folder with `train.csv.gz`.

Takes the 5,000 rows whose `row_id` has the smallest sha256, in order of `row_id`: a sample that anyone can draw again and
that knows nothing of the labels.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import sys
from pathlib import Path

ROWS = 5_000
TARGET = Path(__file__).parent / "reviews.csv"


def main(source: Path) -> None:
    with gzip.open(source / "train.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        header = list(rows.fieldnames or [])
        drawn = sorted(rows, key=lambda row: hashlib.sha256(row["row_id"].encode()).digest())[:ROWS]
    with TARGET.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, header, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(drawn, key=lambda row: int(row["row_id"])))
    recommended = sum(row["Recommended IND"] == "1" for row in drawn)
    print(f"{len(drawn):,} rows, {recommended / len(drawn):.1%} recommended, sha256 {_sha256(TARGET)}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
