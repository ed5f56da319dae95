"""Cuts the baseline that `make lint` compares the protos with: what the last release promised, without comments.

    python protos/baseline.py       (or `make baseline`) once, in the commit that releases a version

Until then every change is compared with the release before: fields, calls and enum values may be added, nothing may be taken
away, renumbered or made something else (`buf breaking`).
"""

from __future__ import annotations

import sys
from pathlib import Path

from google.protobuf import descriptor_pb2

PROTOS = Path(__file__).parent
IMAGE = PROTOS.parent / "regrow" / "api.binpb"
BASELINE = PROTOS / "baseline.binpb"


def cut(image: bytes) -> bytes:
    """The descriptor set of an image without its comments, always the same bytes for the same protos."""
    files = descriptor_pb2.FileDescriptorSet.FromString(image)
    for file in files.file:
        file.ClearField("source_code_info")
    return files.SerializeToString(deterministic=True)


def main() -> int:
    """Command line; see the module's docstring."""
    BASELINE.write_bytes(cut(IMAGE.read_bytes()))
    print(f"{BASELINE.relative_to(PROTOS.parent)}: {BASELINE.stat().st_size:,} bytes. Commit it with the release.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
