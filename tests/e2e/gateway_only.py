"""Does the gateway serve where only its own packages are installed? Run by `.ci/gateway-only` in two environments.

    python gateway_only.py make DIR       # everything installed: a data folder with a trained model, its champion and a key
    python gateway_only.py predict DIR    # `pip install regrow[gateway]` alone: predicts over REST from that folder

`predict` starts the gateway twice: with the registry down, from the table of aliases that it kept, and with the registry (which
needs no more than the gateway) and without that table. Ends with an error where torch can be imported, or an answer is wrong.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from regrow.local.ports import free_ports

COMMENTS = Path(__file__).parents[2] / "examples" / "youtube_comments" / "comments.csv"
PATH = "/v1/projects/default/models/spam:predict"
ROWS = [
    {"text": "check out my channel and subscribe please http://example.com"},
    {"text": "I love this song"},
    {"text": "❤️" * 50},
    {},
]
EXPECTED = ["spam", "ham"]
UNWANTED = ("torch", "transformers", "sklearn", "pandas", "pyarrow", "duckdb")
START_SECONDS = 60.0


def make(folder: Path) -> None:
    """Trains and promotes with all four services; keeps the key and the answers beside the data."""
    from regrow import Client
    from regrow.labeling.v1 import datasets_pb2
    from regrow.local import Local
    from regrow.training.v1 import runs_pb2

    with Local(data=folder, free_ports=True) as local, Client(local.grpc_address, local.admin_key) as client:
        holdout = datasets_pb2.Holdout(split_column="split", split_values=["test"])
        client.import_file(COMMENTS, dataset_id="comments", holdout=holdout, kinds={"text": "text"})
        client.create_spec("spam", dataset="comments", target="label", input_columns=["text"])
        labels = client.create_label_set("comments", problem_spec="spam")
        run = client.wait_for_run(client.create_run(labels.name, model="spam", template="brew").name)
        if run.state != runs_pb2.RUN_STATE_SUCCEEDED:
            raise SystemExit(f"The run failed: {run.problem}")
        client.promote(run.version)
        _wait_until_served(local.url, local.admin_key)
        answers = _predict(local.url, local.admin_key)
        (folder / "gateway_only.json").write_text(json.dumps({"key": local.admin_key, "answers": answers}))
    print(f"Trained {run.version} and kept it in {folder}.")


def predict(folder: Path) -> None:
    """Serves what `make` left behind, with nothing but the gateway's packages."""
    unwanted = [name for name in UNWANTED if importlib.util.find_spec(name) is not None]
    if unwanted:
        raise SystemExit(f"This environment is no gateway's: it has {', '.join(unwanted)}.")
    kept = json.loads((folder / "gateway_only.json").read_text())
    _check(folder, kept, with_registry=False)
    (folder / "gateway" / "aliases.json").unlink()
    _check(folder, kept, with_registry=True)


def _check(folder: Path, kept: Mapping[str, Any], *, with_registry: bool) -> None:
    begun = time.monotonic()
    with ExitStack() as running:
        http, grpc, registry, absent, away = free_ports(5)
        addresses = {
            "REGROW_GATEWAY_HTTP_ADDRESS": http, "REGROW_GATEWAY_GRPC_ADDRESS": grpc, "REGROW_REGISTRY_ADDRESS": registry,
            "REGROW_LABELING_ADDRESS": absent, "REGROW_TRAINING_ADDRESS": away,
        }  # fmt: skip
        environment = {"REGROW_DATA_DIR": str(folder), **{name: f"127.0.0.1:{port}" for name, port in addresses.items()}}
        for service in ["registry", "gateway"] if with_registry else ["gateway"]:
            running.enter_context(_service(service, environment))
        url = f"http://127.0.0.1:{http}"
        _wait_until_served(url, kept["key"])
        seconds = time.monotonic() - begun
        answers = _predict(url, kept["key"])
    if [one["class"] for one in answers[: len(EXPECTED)]] != EXPECTED:
        raise SystemExit(f"The gateway answered {answers}, not {EXPECTED}.")
    for ours, theirs in zip(answers, kept["answers"], strict=True):
        if ours["class"] != theirs["class"] or abs(ours["probability"] - theirs["probability"]) > 1e-5:
            raise SystemExit(f"The gateway alone answers {ours}; with everything installed it was {theirs}.")
    how = "with the registry" if with_registry else "with the registry down"
    print(f"The gateway alone, {how}: first answer {seconds:.1f} s after the start; {len(answers)} answers as before.")


@contextmanager
def _service(name: str, environment: Mapping[str, str]) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", f"services.{name}"], env={**os.environ, **environment})
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    if process.returncode != 0:
        raise SystemExit(f"{name} ended with {process.returncode}.")


def _wait_until_served(url: str, key: str) -> None:
    deadline, problem = time.monotonic() + START_SECONDS, "no answer"
    while time.monotonic() < deadline:
        try:
            _predict(url, key)
            return
        except urllib.error.HTTPError as refusal:
            problem = refusal.read().decode(errors="replace")
        except OSError as error:
            problem = str(error)
        time.sleep(0.1)
    raise SystemExit(f"The gateway did not predict within {START_SECONDS:.0f} s: {problem}")


def _predict(url: str, key: str) -> list[dict[str, Any]]:
    request = urllib.request.Request(
        f"{url}{PATH}",
        data=json.dumps({"rows": ROWS}).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        predictions = json.load(answer)["predictions"]
    return [{"class": one["classNames"][0], "probability": one["probabilities"][0]["probability"]} for one in predictions]


def main() -> None:
    what, folder = sys.argv[1], Path(sys.argv[2]).absolute()
    {"make": make, "predict": predict}[what](folder)


if __name__ == "__main__":
    main()
