"""Does the loop learn from true feedback, and refuse false one, without a failed request?

    python benchmarks/feedback_loop.py [--per-second 50] [--seed 2]

YouTube comments. The champion is trained on 20 gold labels. Then 300 comments arrive as traffic and their labels as feedback:
once the true ones, once permuted, each from the same champion in a fresh system. The policy promotes only what is shown to be
better (paired bootstrap on the 250 holdout rows, 5%). All the while a client asks 50 times a second, without retries. Its peer
is the simplest alternative there is: the champion that nobody retrains.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from open_loop import OpenLoop, Verdict, verdict

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import demo_steps as steps
import demo_youtube as youtube

from regrow import Client
from regrow.local import Local
from regrow.names import short
from regrow.training.v1 import policies_pb2, runs_pb2

GOLD, FEEDBACK, SETTLE_SECONDS = 20, 300, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one system made of its feedback."""

    regrowth: policies_pb2.Regrowth
    seconds: float
    served: str
    traffic: Verdict


def gold_rows(rows: youtube.Comments, count: int, seed: int) -> list[int]:
    """Training rows drawn at random, until each class has at least two fifths of them: a person sees when one is missing."""
    training = [number for number, row in enumerate(rows.imported) if row["split"] == "train"]
    draw = random.Random(seed)
    while True:
        drawn = draw.sample(training, count)
        spam = sum(rows.truth[number] == youtube.SPAM for number in drawn)
        if 2 * count <= 5 * spam <= 3 * count:
            return drawn


def champion(client: Client, rows: youtube.Comments, seed: int) -> str:
    """A model trained on 20 gold labels alone, promoted and served. Answers its version."""
    youtube.import_comments(client, rows, "comments", gold=gold_rows(rows, GOLD, seed))
    client.create_spec("spam", dataset="comments", target="label", metric="accuracy")
    labels = client.create_label_set("comments", problem_spec="spam", label_set_id="gold")
    run = client.wait_for_run(client.create_run(labels.name, model="spam").name)
    if run.state != runs_pb2.RUN_STATE_SUCCEEDED:
        raise SystemExit(f"The champion's run failed: {run.problem}")
    client.promote(run.version, why=f"trained on {GOLD} gold labels")
    if not steps.wait_until_served(client, "spam", run.version):
        raise SystemExit("The gateway did not load the champion.")
    return run.version


def loop(rows: youtube.Comments, labels: Sequence[str], *, seed: int, per_second: float) -> Outcome:
    """One system from nothing to the end of its first regrowth."""
    with (
        tempfile.TemporaryDirectory(prefix="regrow-bench-") as folder,
        Local(data=Path(folder), free_ports=True, tell=_quiet) as local,
        Client(local.grpc_address, local.admin_key) as client,
    ):
        champion(client, rows, seed)
        features = [{"text": row["text"]} for row in rows.production]
        policy = steps.create_policy(client, "spam", "spam", feedback_count=FEEDBACK)
        with OpenLoop(
            local.grpc_address, local.admin_key, client.name("models", "spam"), features, per_second=per_second
        ) as traffic:
            answered = [prediction for piece in steps.batches(features, 50) for prediction in _ids(client, piece)]
            begun = time.monotonic()
            steps.send_labels(client, "spam", list(zip(answered, labels, strict=True)), "moderators")
            *_, regrowth = steps.wait_for_regrowth(client, policy.name)
            seconds = time.monotonic() - begun
            time.sleep(SETTLE_SECONDS)
        return Outcome(
            regrowth=regrowth,
            seconds=seconds,
            served=steps.served_version(client, "spam"),
            traffic=verdict(traffic.answers),
        )


def _ids(client: Client, rows: Sequence[dict[str, str]]) -> list[str]:
    return [one.prediction_id for one in client.predict("spam", rows).predictions]


def _quiet(line: str) -> None:
    if "died" in line:
        sys.stderr.write(f"{line}\n")


def show(name: str, outcome: Outcome) -> None:
    """One block of the report."""
    made, traffic = outcome.regrowth.comparison, outcome.traffic
    sys.stdout.write(
        f"\n{name}: {steps.state_name(outcome.regrowth)} after {outcome.seconds:.1f} s; {short(outcome.served)} is served\n"
        f"  champion (nobody retrains) {made.champion:.3f}   challenger {made.challenger:.3f}   "
        f"difference {made.difference:+.3f} ({made.low:+.3f} to {made.high:+.3f}), p {made.p_value:.4f}, {made.rows} rows\n"
        f"  reason: {outcome.regrowth.decision}\n"
        f"  traffic: {traffic.requests} requests, {len(traffic.failures)} failed, p50 {traffic.p50 * 1e3:.1f} ms, "
        f"p99 {traffic.p99 * 1e3:.1f} ms, worst {traffic.worst * 1e3:.0f} ms\n"
        f"  {traffic.stale} requests answered by an older version after a newer\n"
    )
    for version, first, last, count in traffic.versions:
        sys.stdout.write(f"    version {version}: {count} answers, from {first:.2f} s to {last:.2f} s\n")
    for problem in sorted(set(traffic.failures)):
        sys.stdout.write(f"    failed: {problem}\n")


def problems(true: Outcome, permuted: Outcome) -> list[str]:
    """What is not as it must be."""
    found = []
    if true.regrowth.state != policies_pb2.REGROWTH_STATE_PROMOTED:
        found.append(f"true feedback was not promoted: {true.regrowth.decision}")
    if permuted.regrowth.state != policies_pb2.REGROWTH_STATE_REFUSED or not permuted.regrowth.decision:
        found.append(f"permuted feedback was not refused: {steps.state_name(permuted.regrowth)}")
    if len(true.traffic.versions) != 2:
        found.append(f"{len(true.traffic.versions)} versions were seen, not both")
    if len(permuted.traffic.versions) != 1:
        found.append("the refused challenger answered requests")
    for name, outcome in (("true", true), ("permuted", permuted)):
        if outcome.traffic.failures:
            found.append(f"{name}: {len(outcome.traffic.failures)} requests failed")
        if outcome.traffic.stale:
            found.append(f"{name}: {outcome.traffic.stale} requests were answered by an older version after a newer")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-second", type=float, default=50.0)
    parser.add_argument("--seed", type=int, default=2)
    asked = parser.parse_args()
    rows = youtube.comments(production=FEEDBACK, draw=asked.seed)
    labels = [row["label"] for row in rows.production]
    permuted = random.Random(asked.seed).sample(labels, len(labels))
    outcomes = [loop(rows, given, seed=asked.seed, per_second=asked.per_second) for given in (labels, permuted)]
    for name, outcome in zip(("300 true labels", "300 permuted labels"), outcomes, strict=True):
        show(name, outcome)
    found = problems(*outcomes)
    sys.exit("\n" + "\n".join(found) if found else None)


if __name__ == "__main__":
    main()
