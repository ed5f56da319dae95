"""What the last release promised still holds, and `make lint` would notice if it didn't."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

import regrow
from protos.baseline import cut

ROOT = Path(__file__).parents[2]
BASELINE = descriptor_pb2.FileDescriptorSet.FromString((ROOT / "protos" / "baseline.binpb").read_bytes())
TODAY = descriptor_pb2.FileDescriptorSet.FromString((Path(next(iter(regrow.__path__))) / "api.binpb").read_bytes())
BUF = shutil.which("buf", path=str(Path(sys.executable).parent)) or shutil.which("buf")


def breaking(image: descriptor_pb2.FileDescriptorSet, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "changed.binpb").write_bytes(image.SerializeToString())
    assert BUF is not None
    command = [BUF, "breaking", str(folder / "changed.binpb"), "--against", str(ROOT / "protos" / "baseline.binpb")]
    return subprocess.run(
        [*command, "--config", str(ROOT / "protos" / "buf.yaml")], capture_output=True, text=True, check=False, cwd=folder
    )


def policy_of(image: descriptor_pb2.FileDescriptorSet) -> descriptor_pb2.DescriptorProto:
    return next(
        m for file in image.file for m in file.message_type if file.package == "regrow.training.v1" and m.name == "Policy"
    )


def take_a_field_away(image: descriptor_pb2.FileDescriptorSet) -> None:
    del policy_of(image).field[4]


def renumber_a_field(image: descriptor_pb2.FileDescriptorSet) -> None:
    policy_of(image).field[4].number = 99


def retype_a_field(image: descriptor_pb2.FileDescriptorSet) -> None:
    retyped = policy_of(image).field[3]
    retyped.type = descriptor_pb2.FieldDescriptorProto.TYPE_STRING


def rename_a_field(image: descriptor_pb2.FileDescriptorSet) -> None:
    policy_of(image).field[4].name = "other"


def take_a_call_away(image: descriptor_pb2.FileDescriptorSet) -> None:
    file = next(file for file in image.file if file.name == "regrow/training/v1/runs.proto")
    del file.service[0].method[0]


CHANGES = [take_a_field_away, renumber_a_field, retype_a_field, rename_a_field, take_a_call_away]


def test_the_protos_of_today_break_nothing_that_was_released(tmp_path: Path) -> None:
    found = breaking(TODAY, tmp_path)
    assert (found.returncode, found.stdout) == (0, ""), found.stdout


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_that_breaks_callers_is_caught(
    change: Callable[[descriptor_pb2.FileDescriptorSet], None], tmp_path: Path
) -> None:
    image = descriptor_pb2.FileDescriptorSet()
    image.CopyFrom(TODAY)
    change(image)
    found = breaking(image, tmp_path)
    assert found.returncode != 0
    assert "regrow/training/v1/" in found.stdout


def test_what_is_added_breaks_nothing(tmp_path: Path) -> None:
    image = descriptor_pb2.FileDescriptorSet()
    image.CopyFrom(TODAY)
    policy_of(image).field.add(
        name="added", number=500, type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING, json_name="added",
        label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
    )  # fmt: skip
    assert breaking(image, tmp_path).returncode == 0


def test_no_call_takes_back_that_it_is_idempotent() -> None:
    def levels(image: descriptor_pb2.FileDescriptorSet) -> dict[str, int]:
        return {
            f"{file.package}.{service.name}/{method.name}": method.options.idempotency_level
            for file in image.file for service in file.service for method in service.method
        }  # fmt: skip

    today, unknown = levels(TODAY), descriptor_pb2.MethodOptions.IDEMPOTENCY_UNKNOWN
    assert [call for call, level in levels(BASELINE).items() if level not in (unknown, today[call])] == []


def test_a_baseline_is_the_image_without_comments_and_always_the_same() -> None:
    made = cut(TODAY.SerializeToString())
    assert made == cut(made)
    assert not any(file.HasField("source_code_info") for file in descriptor_pb2.FileDescriptorSet.FromString(made).file)
    assert not any(file.HasField("source_code_info") for file in BASELINE.file)
    assert {m.name for f in TODAY.file for m in f.message_type} == {
        m.name for f in descriptor_pb2.FileDescriptorSet.FromString(made).file for m in f.message_type
    }


def test_lint_compares_with_the_baseline() -> None:
    assert "buf breaking regrow/api.binpb --against protos/baseline.binpb" in (ROOT / "Makefile").read_text()
