"""What an import costs in memory and time, small file and large, beside pandas reading the same file.

    python benchmarks/import_memory.py [--sizes 50 1000] [--most-growth 64] [--no-gateway]

Every size is sent through processes that were started for it alone: over REST through the gateway to the labeling service, or
straight to labeling over gRPC. A peak is what the kernel counted for the process (`VmHWM`). pandas' `read_csv` runs in a
process of its own and only reads; labeling also infers kinds, profiles, carves the holdout and writes Parquet. Ends with 1
where a peak grows by more than `--most-growth` MB from the first size to the last.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from regrow.labeling.v1 import datasets_pb2 as pb
from regrow.labeling.v1.datasets_pb2_grpc import DatasetServiceStub
from services.common.rpc.principal import call_metadata, service_principal

ROOT = Path(__file__).parents[1]
TOKEN = "benchmark"
NOBODY = "127.0.0.1:1"  # an import needs neither registry nor training, and those of this machine are none of its business
METADATA = call_metadata(service_principal("benchmark"), TOKEN, "benchmark")
MB = 1_000_000
PANDAS = """
import sys, resource, pandas
pandas.read_csv(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
LABELING = """
from services.common.telemetry import configure_logging
from services.labeling.app import start
from services.labeling.settings import LabelingSettings
configure_logging("labeling", level="WARNING", json=True)
server = start(LabelingSettings())
print(server.port, flush=True)
server.wait()
"""
GATEWAY = """
import asyncio
from services.common.telemetry import configure_logging
from services.gateway.app import open_gateway
from services.gateway.settings import GatewaySettings
configure_logging("gateway", level="ERROR", json=True)
async def serve():
    gateway, key = await open_gateway(GatewaySettings())
    print(gateway.http_port, key, flush=True)
    await asyncio.Event().wait()
asyncio.run(serve())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    megabytes: int
    rows: int
    labeling: float
    gateway: float
    seconds: float
    pandas: float
    pandas_seconds: float


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sizes", type=int, nargs="+", default=[50, 1000], help="file sizes in MB")
    options.add_argument("--most-growth", type=float, default=64.0, help="MB")
    options.add_argument("--no-gateway", action="store_true", help="straight to labeling")
    chosen = options.parse_args()
    print("peak memory in MB, time in seconds")
    print(f"{'file MB':>8} {'rows':>10} {'labeling':>9} {'gateway':>8} {'time':>7} {'pandas':>7} {'its time':>9}", flush=True)
    results = []
    for megabytes in chosen.sizes:
        with tempfile.TemporaryDirectory() as folder:
            results.append(measure(Path(folder), megabytes, through_gateway=not chosen.no_gateway))
        print(line(results[-1]), flush=True)
    first, last = results[0], results[-1]
    grown = {"labeling": last.labeling - first.labeling, "gateway": last.gateway - first.gateway}
    for name, growth in grown.items():
        print(f"{name} grows by {growth:.0f} MB from {first.megabytes} MB to {last.megabytes} MB")
    return int(max(grown.values()) > chosen.most_growth)


def line(result: Result) -> str:
    return (
        f"{result.megabytes:>8,} {result.rows:>10,} {result.labeling:>9.0f} {result.gateway:>8.0f} {result.seconds:>7.1f} "
        f"{result.pandas:>7.0f} {result.pandas_seconds:>9.1f}"
    )


def measure(folder: Path, megabytes: int, *, through_gateway: bool) -> Result:
    path = folder / "table.csv"
    write_table(path, megabytes * MB)
    pandas_peak, pandas_seconds = read_with_pandas(path)
    gateway_peak = 0.0
    with process(LABELING, folder) as (labeling, port):
        address = f"127.0.0.1:{port}"
        if through_gateway:
            with process(GATEWAY, folder, REGROW_LABELING_ADDRESS=address) as (gateway, said):
                rows, seconds = timed(send_to_gateway, path, *said.split())
                gateway_peak = peak_of(gateway.pid)
        else:
            rows, seconds = timed(send_to_labeling, path, address)
        labeling_peak = peak_of(labeling.pid)
    return Result(
        megabytes=megabytes, rows=rows, labeling=labeling_peak, gateway=gateway_peak, seconds=seconds,
        pandas=pandas_peak, pandas_seconds=pandas_seconds,
    )  # fmt: skip


def timed(send: Callable[..., int], *arguments: object) -> tuple[int, float]:
    began = time.perf_counter()
    rows = send(*arguments)
    return rows, time.perf_counter() - began


def read_with_pandas(path: Path) -> tuple[float, float]:
    """Peak in MB, and seconds with the start of Python and pandas in them."""
    began = time.perf_counter()
    told = subprocess.run([sys.executable, "-c", PANDAS, str(path)], check=True, capture_output=True, text=True).stdout
    return int(told) / MB, time.perf_counter() - began


def write_table(path: Path, size: int) -> None:
    """Text of some 40 words, two numbers, a time, two categories and an id a row; the same every time."""
    draw = random.Random(7)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(20_000)]
    written = row = 0
    with path.open("w", newline="") as file:
        file.write("id,text,price,amount,at,country,label\n")
        while written < size:
            text = " ".join(draw.choices(words, k=draw.randint(10, 70)))
            at = f"2026-{row % 12 + 1:02d}-{row % 28 + 1:02d}T{row % 24:02d}:{row % 60:02d}:00Z"
            country, label = words[row * row % 150], ("ham", "spam")[row * 7919 % 10 > 7]
            written += file.write(
                f'{row},"{text}, said ""{row}""",{draw.random() * 100:.4f},{row % 1000},{at},{country},{label}\n'
            )
            row += 1


@contextmanager
def process(program: str, folder: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process and the line that it prints once it serves."""
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "REGROW_DATA_DIR": str(folder / "data"),
        "REGROW_INTERNAL_TOKEN": TOKEN, "REGROW_LABELING_ADDRESS": "127.0.0.1:0",
        "REGROW_GATEWAY_HTTP_ADDRESS": "127.0.0.1:0", "REGROW_GATEWAY_GRPC_ADDRESS": "127.0.0.1:0",
        "REGROW_REGISTRY_ADDRESS": NOBODY, "REGROW_TRAINING_ADDRESS": NOBODY, **settings,
    }  # fmt: skip
    command = [sys.executable, "-c", program]
    started = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    try:
        yield started, started.stdout.readline().strip()
    finally:
        started.terminate()
        started.wait(60)


def send_to_gateway(path: Path, port: str, key: str) -> int:
    """As curl would: the file as the body of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=3600)
    with path.open("rb") as file:
        connection.request(
            "POST", "/v1/projects/default/datasets:import?datasetId=table&fileName=table.csv", body=file,
            headers={"Authorization": f"Bearer {key}", "Content-Length": str(path.stat().st_size)},
        )  # fmt: skip
        answer = json.loads(connection.getresponse().read())
    return int(answer["latestVersion"]["rowCount"])


def send_to_labeling(path: Path, address: str) -> int:
    with grpc.insecure_channel(address) as channel:
        made = DatasetServiceStub(channel).ImportDataset(messages(path), metadata=METADATA, timeout=3600)
    return int(made.latest_version.row_count)


def messages(path: Path) -> Iterator[pb.ImportDatasetRequest]:
    yield pb.ImportDatasetRequest(parent="projects/default", dataset_id="table", file_name=path.name)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield pb.ImportDatasetRequest(content=chunk)


def peak_of(pid: int) -> float:
    """Peak resident memory of a process so far, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / MB


if __name__ == "__main__":
    sys.exit(main())
