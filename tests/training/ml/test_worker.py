"""The subprocess: JSON lines out, and exit codes that tell a user's mistake from a crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from services.common.frames.label_sets import read_label_set


def work(problem, task: dict[str, Any], folder: Path) -> tuple[int, list[dict[str, Any]], str]:
    file = folder / "task.json"
    file.write_text(json.dumps({"task": task, "cache_dir": str(folder / "cache")}))
    environment = {**os.environ, "REGROW_DATA_DIR": str(problem.cache.parent)}
    command = [sys.executable, "-m", "services.training.worker", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.slow
def test_a_run_tells_its_events_and_ends_with_the_result(review_problem, brewed, tmp_path):
    code, lines, errors = work(review_problem, review_problem.task("brew").to_json(), tmp_path)
    assert code == 0, errors
    assert lines[-1]["type"] == "result" and lines[-1]["bundle_digest"] == brewed.result.bundle_digest
    assert {line["type"] for line in lines} == {"stage", "epoch", "report", "result"}


@pytest.mark.slow
def test_a_worker_leaves_when_its_caller_is_gone_and_stops_when_it_is_told(review_problem, tmp_path):
    file = tmp_path / "task.json"
    task = review_problem.task("gru", epochs=1000, patience=1000).to_json()
    file.write_text(json.dumps({"task": task, "cache_dir": str(tmp_path / "cache")}))
    environment = {**os.environ, "REGROW_DATA_DIR": str(review_problem.cache.parent)}
    command = [sys.executable, "-m", "services.training.worker", str(file)]
    for end, expected in ((lambda p: p.stdin.close(), 4), (lambda p: p.terminate(), 3)):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
            for line in process.stdout:
                if json.loads(line)["type"] == "epoch":
                    break
            end(process)
            rest = process.stdout.read()
            assert process.wait(30) == expected
    assert json.loads(rest.splitlines()[-1])["reason"] == "CANCELLED"


@pytest.mark.slow
def test_a_users_mistake_ends_with_its_reason_and_code_2(review_problem, tmp_path):
    labels = read_label_set(review_problem.objects, review_problem.label_set_key)
    only = review_problem.relabeled(pd.DataFrame(labels[labels["probabilities"].map(lambda p: p[0] == 1)]))
    code, lines, errors = work(review_problem, only.task("brew").to_json(), tmp_path)
    assert code == 2 and lines[-1]["type"] == "error" and lines[-1]["reason"] == "ONE_CLASS"
    assert "Traceback" not in errors
