"""Generates the Python stubs of `protos/` into `regrow/`, and the descriptor set that the gateway serves and lints run on.

    python protos/generate.py            writes regrow/**/v1/*_pb2*.py(i), regrow/api.binpb, the typed services, and the
                                         messages of services/gateway/oip/stubs
    python protos/generate.py --check    fails where the committed stubs differ from what the protos give

The Open Inference Protocol (`protos/inference`) is others' too: its package `inference` is in every client of it. Its stubs
keep their descriptors in a pool of their own, so that a program may import the gateway and such a client.

Nothing is vendored and nothing is fetched: `google/*` comes from googleapis-common-protos and grpcio-tools, and
`buf/validate/validate.proto` from the descriptor inside protovalidate's wheel.
"""

from __future__ import annotations

import argparse
import filecmp
import importlib
import re
import shutil
import sys
import tempfile
from pathlib import Path

import google.rpc
import grpc_tools
from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from grpc_tools import protoc

PROTOS = Path(__file__).parent
ROOT = PROTOS.parent
sys.path.insert(0, str(ROOT))

from protos.twin import TWINS, tidy, write_twins  # noqa: E402
from protos.typed_services import services_source  # noqa: E402

INFERENCE_STUBS = Path("services/gateway/oip/stubs")
INCLUDES = (PROTOS, Path(next(iter(google.rpc.__path__))).parents[1], Path(grpc_tools.__file__).parent / "_proto")


def validate_descriptors() -> descriptor_pb2.FileDescriptorSet:
    """`buf/validate/validate.proto` with what it imports, from protovalidate's own generated code."""
    generated = importlib.import_module("protovalidate._gen.buf.validate.validate_pb")
    files = descriptor_pb2.FileDescriptorSet()
    descriptor_pb2.DESCRIPTOR.CopyToProto(files.file.add())
    for module in (duration_pb2, field_mask_pb2, timestamp_pb2):
        module.DESCRIPTOR.CopyToProto(files.file.add())
    files.file.add().ParseFromString(generated._DESC.proto.to_binary())
    return files


def generate(out: Path) -> None:
    """Writes every stub and `regrow/api.binpb` under `out`. Raises `SystemExit` where a proto is wrong."""
    _generate_inference(out / INFERENCE_STUBS)
    sources = sorted(str(p.relative_to(PROTOS)) for p in (PROTOS / "regrow").rglob("*.proto"))
    with tempfile.TemporaryDirectory() as work:
        known = Path(work) / "validate.binpb"
        known.write_bytes(validate_descriptors().SerializeToString())
        image = out / "regrow" / "api.binpb"
        image.parent.mkdir(parents=True, exist_ok=True)
        _give_operations_their_name(Path(work))
        common = ["protoc", *(f"-I{path}" for path in (*INCLUDES, work)), f"--descriptor_set_in={known}"]
        stubs = [f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}"]
        _run([*common, *stubs, *sources])
        _run([*common, "--include_imports", "--include_source_info", f"--descriptor_set_out={image}", *sources])
        _run(
            [
                "protoc",
                f"--descriptor_set_in={known}",
                f"--python_out={out / 'regrow'}",
                f"--pyi_out={out / 'regrow'}",
                "buf/validate/validate.proto",
            ]
        )
    _bring_validate_home(out / "regrow")
    _write_client(out / "regrow")


def _give_operations_their_name(folder: Path) -> None:
    """googleapis-common-protos ships the file under another name than its stubs register it."""
    shipped = INCLUDES[1] / "google" / "longrunning" / "operations_proto.proto"
    target = folder / "google" / "longrunning" / "operations.proto"
    target.parent.mkdir(parents=True)
    shutil.copyfile(shipped, target)


def _write_client(package: Path) -> None:
    """The typed services from the descriptors, and the blocking client from the one for asyncio."""
    aio = package / "aio"
    if package != ROOT / "regrow":
        shutil.copytree(ROOT / "regrow" / "aio", aio, ignore=shutil.ignore_patterns("__pycache__"))
    services = aio / "services.py"
    services.write_text(services_source(package / "api.binpb"))
    tidy([services])
    write_twins(aio, package)


def _generate_inference(stubs: Path) -> None:
    """Stubs of `protos/inference`, importing each other from `stubs` and with descriptors in `stubs.POOL`."""
    package = ".".join(INFERENCE_STUBS.parts)
    stubs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        sources = sorted(str(p.relative_to(PROTOS)) for p in (PROTOS / "inference").glob("*.proto"))
        _run(["protoc", f"-I{PROTOS}", f"--python_out={work}", f"--pyi_out={work}", *sources])
        for path in (Path(work) / "inference").iterdir():
            text = re.sub(r"^from inference import", f"from {package} import", path.read_text(), flags=re.MULTILINE)
            text = text.replace("_descriptor_pool.Default()", "POOL")
            text = text.replace(
                "from google.protobuf import descriptor_pool as _descriptor_pool", f"from {package} import POOL"
            )
            (stubs / path.name).write_text(text)


def _run(command: list[str]) -> None:
    if protoc.main(command) != 0:
        raise SystemExit("protoc refused the protos; its message is above.")


def _bring_validate_home(package: Path) -> None:
    """Makes the stubs import `regrow.buf.validate`, so that no top-level package `buf` is installed on a user's machine."""
    for path in [found for pattern in ("*_pb2*.py", "*_pb2*.pyi") for found in package.rglob(pattern)]:
        text = path.read_text()
        mended = re.sub(r"^from buf\.validate import", "from regrow.buf.validate import", text, flags=re.MULTILINE)
        if mended != text:
            path.write_text(mended)


def differences(out: Path) -> list[str]:
    """Paths of stubs that are missing, left over or different from the fresh ones in `out`."""
    homes = ("regrow", INFERENCE_STUBS)
    fresh = {p.relative_to(out) for home in homes for p in (out / home).rglob("*") if p.is_file()}
    patterns = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "api.binpb", "aio/*.py", *(f"{twin}.py" for twin in TWINS))
    kept = {p.relative_to(ROOT) for home in homes for pattern in patterns for p in (ROOT / home).rglob(pattern)}
    changed = {p for p in fresh & kept if not filecmp.cmp(out / p, ROOT / p, shallow=False)}
    return sorted(str(p) for p in (fresh ^ kept) | changed)


def main() -> int:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only compare, and fail where something differs")
    if not parser.parse_args().check:
        generate(ROOT)
        return 0
    with tempfile.TemporaryDirectory() as out:
        generate(Path(out))
        found = differences(Path(out))
    print("\n".join(f"stale: {path}" for path in found) or "The stubs are fresh.")
    if found:
        print("Run `make protos` and commit the result.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
