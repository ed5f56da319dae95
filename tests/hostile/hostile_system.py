"""One system of four real services with a served model for all hostile callers, and what must hold of each answer."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from regrow import Client
from regrow.gateway.v1 import gateway_pb2
from regrow.labeling.v1 import labelers_pb2, votes_pb2
from regrow.local import Local
from regrow.registry.v1 import registry_pb2
from regrow.training.v1 import batch_predictions_pb2, policies_pb2
from services.common.events import FEEDBACK_IN, Event, SqliteLog

PROJECT = "projects/default"
_LEAKS = re.compile(
    r"Traceback|site-packages|File \"|\.py\b|<class |object at 0x|sqlite3?\.|psycopg|sqlalchemy|alembic|duckdb\.|pyarrow\."
    r"|grpc\._|Error\(|Exception\b|/srv/|/tmp/|/home/|/root/|pytest-of|" + re.escape(str(Path(__file__).parents[2]))
)


@dataclass(frozen=True)
class System:
    """A running system, a model in it, and the names that hostile requests are built around."""

    local: Local
    client: Client
    names: Mapping[str, str]
    """A resource of each kind, by the pattern of its name; and the digest of a `BUNDLE`."""
    processes: frozenset[int]

    def problem(self, text: str, *, sent: str = "") -> str:
        """What is wrong with the text of an answer: words of the inside that the caller didn't send itself."""
        found = [leak for leak in _LEAKS.findall(text) if leak not in sent]
        return f"leaks {found}: {text[:300]}" if found else ""


@contextmanager
def running_system(data: Path) -> Iterator[System]:
    """Four services in processes of their own, and a model that is served."""
    with Local(data=data, free_ports=True) as local, Client(local.grpc_address, local.admin_key) as client:
        names = _made(client, data)
        yield System(local, client, names, services_below(os.getpid()))


def _made(client: Client, data: Path) -> dict[str, str]:
    """Trains and promotes; one resource of each kind, by the pattern of its name."""
    lines = ["text,likes,site,label"]
    for number in range(160):
        words = "win free money now" if number % 2 else "lunch meeting tomorrow"
        lines.append(f"{words} {number % 13},{number % 7},{'shop' if number % 3 else 'blog'},{'spam' if number % 2 else 'ham'}")
    (data / "mail.csv").write_text("\n".join(lines))
    client.import_file(data / "mail.csv", dataset_id="mail")
    for name in ("mail", "attic"):
        client.create_spec(name, dataset="mail", target="label")
    labels = client.create_label_set("mail", problem_spec="mail", label_set_id="gold")
    run = client.wait_for_run(client.create_run(labels.name, model="mail", express=True).name)
    client.promote(run.version, why="to be served")
    version = client.versions.GetVersion(registry_pb2.GetVersionRequest(name=run.version))
    model, dataset = run.version.rpartition("/versions/")[0], client.name("datasets", "mail")
    client.models.CreateModel(registry_pb2.CreateModelRequest(parent=PROJECT, model_id="idle"))
    policy = policies_pb2.Policy(model=f"{PROJECT}/models/idle", feedback_count=1_000_000)
    client.policies.CreatePolicy(policies_pb2.CreatePolicyRequest(parent=PROJECT, policy_id="idle", policy=policy))
    client.create_labeler("hand", problem_spec="mail", human=labelers_pb2.HumanLabeler(gold=True))
    client.create_labeler("voter", problem_spec="mail", imported=labelers_pb2.ImportedLabeler())
    vote = votes_pb2.Vote(labeler=client.name("labelers", "voter"), row=1, class_names=["spam"])
    client.write_votes("mail", [vote])
    scored = _scored(client, f"{dataset}/versions/1", model)
    key = client.keys.CreateKey(
        gateway_pb2.CreateKeyRequest(key=gateway_pb2.Key(display_name="to be revoked", role=gateway_pb2.ROLE_VIEWER))
    ).key
    artifacts = client.artifacts.ListArtifacts(registry_pb2.ListArtifactsRequest(parent=run.version)).artifacts
    return {
        "BUNDLE": version.bundle_digest, "keys/*": key.name, "deadLetters/*": _set_aside(client, data), "projects/*": PROJECT,
        "projects/*/datasets/*": dataset, "projects/*/datasets/*/versions/*": f"{dataset}/versions/1",
        "projects/*/problemSpecs/*": client.name("problemSpecs", "mail"),
        "projects/*/datasets/*/labelSets/*": labels.name, "projects/*/runs/*": run.name,
        "projects/*/batchPredictions/*": scored,
        "projects/*/labelers/*": client.name("labelers", "voter"), "projects/*/policies/*": client.name("policies", "idle"),
        "projects/*/models/*": model, "projects/*/models/*/versions/*": run.version,
        "projects/*/models/*/aliases/*": f"{model}/aliases/champion",
        "projects/*/models/*/versions/*/artifacts/*": artifacts[0].name,
    }  # fmt: skip


def _scored(client: Client, dataset_version: str, model: str) -> str:
    """A batch prediction that ended."""
    wish = batch_predictions_pb2.BatchPrediction(dataset_version=dataset_version, model=model)
    request = batch_predictions_pb2.CreateBatchPredictionRequest(parent=PROJECT, batch_prediction=wish)
    made = client.batch_predictions.CreateBatchPrediction(request)
    give_up = time.monotonic() + 60
    while not made.HasField("end_time"):
        assert time.monotonic() < give_up, made
        time.sleep(0.05)
        made = client.batch_predictions.GetBatchPrediction(batch_predictions_pb2.GetBatchPredictionRequest(name=made.name))
    return str(made.name)


def _set_aside(client: Client, data: Path) -> str:
    """A dead letter: a third party wrote something to the event log that is no event."""
    with closing(SqliteLog(data / "events.db")) as log:
        log.append(FEEDBACK_IN, [Event(key="", value=b'{"id": "none"}')])
    give_up = time.monotonic() + 60
    while not (letters := client.events.ListDeadLetters(gateway_pb2.ListDeadLettersRequest()).dead_letters):
        assert time.monotonic() < give_up
        time.sleep(0.05)
    return str(letters[0].name)


def services_below(pid: int) -> frozenset[int]:
    """The processes of the four services among the descendants of a process."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
    found, waiting = set(), {pid}
    while waiting:
        waiting = {child for child, parent in parents.items() if parent in waiting}
        found |= waiting
    return frozenset(one for one in found if _is_service(one))


def _is_service(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(word.startswith(b"services.") and word.count(b".") == 1 for word in words)


def unexpected(system: System) -> list[str]:
    """Log lines about what nobody foresaw, of all services."""
    found: list[str] = []
    for file in sorted(Path(system.local.data, "logs").glob("*")):
        for line in file.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and entry.get("event") in ("unexpected", "record_failed"):
                where = entry.get("place") or entry.get("record")
                found.append(f"{file.name}: {where}: {str(entry.get('exception'))[-700:]}")
    return found
