"""The command line on the real four services: started in the background, used as a person would, killed, stopped."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from regrow import Client
from regrow.local import processes
from regrow.local.launcher import not_ready
from regrow.local.supervisor import read_state

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Machine:
    """A person's machine: a home of its own, and `regrow` on it."""

    def __init__(self, home: Path) -> None:
        self.home, self.data = home, home / "data"
        (home / "reviews.csv").write_text(reviews())
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("REGROW_")},
            "REGROW_CREDENTIALS": str(home / "credentials.json"),
            "REGROW_DATA_DIR": str(self.data),
        }

    def run(self, *words: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "regrow.cli", *words]
        done = subprocess.run(
            command,
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def json(self, *words: str) -> object:
        return json.loads(self.run(*words, "--json"))

    def client(self) -> Client:
        stored = json.loads((self.home / "credentials.json").read_text())
        return Client(stored["grpc_address"], stored["key"], retry_for=60)


def reviews(rows: int = 400) -> str:
    draw = random.Random(3)
    good, bad = ("lovely soft fits great happy", "awful rough returned broke sad")
    lines = ["id,text,stars,verdict,constant"]
    for number in range(rows):
        kind = draw.random() < 0.6
        words = " ".join(draw.choices([*(good if kind else bad).split(), "the", "a", "dress", "shirt", "size"], k=8))
        lines.append(f"r-{number:04},{words},{draw.randint(1, 5)},{'good' if kind else 'bad'},same")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    made = Machine(tmp_path_factory.mktemp("machine"))
    said = made.run("up", "--detach", "--free-ports")
    assert "Your admin key, shown this once" in said
    yield made
    known = read_state(made.data)["services"]
    made.run("down")
    assert not any(processes.is_alive(one) for one in known.values())


def test_try_brings_a_file_to_a_served_model_and_the_printed_curl_works(machine: Machine) -> None:
    said = machine.run("try", "reviews.csv", "--target", "verdict", "--exclude", "stars")
    for words in ("What was understood", "Classes in 'verdict'", "majority class", "reviews/1 is the champion, and serves"):
        assert words in said
    curl = said[said.index("curl -s") : said.index("It answers:")]
    assert "stars" not in curl
    answered = subprocess.run(["/bin/bash", "-c", curl], capture_output=True, text=True, timeout=30, check=True).stdout
    (prediction,) = json.loads(answered)["predictions"]
    assert prediction["classNames"][0] in ("good", "bad")
    assert machine.json("predict", "reviews", "text=lovely soft great happy")[0]["classNames"] == ["good"]  # type: ignore[index]


def test_a_file_that_can_t_be_tried_says_why_and_leaves_nothing_behind(machine: Machine) -> None:
    for target, problem in {"constant": "the same value", "id": "looks like an id", "text": "looks like an id"}.items():
        assert problem in machine.run("try", "reviews.csv", "--target", target, "--name", "mistake", code=1)
    (machine.home / "nothing.jsonl").write_text('{"text": "x", "verdict": "y"}\n' * 3)
    assert "Did you mean 'verdict'" in machine.run("try", "nothing.jsonl", "--target", "veredict", "--name", "mistake", code=1)
    assert "mistake" not in machine.run("datasets", "list")


def test_labels_by_hand_and_by_rule_become_a_label_set(machine: Machine) -> None:
    machine.run("import", "reviews.csv", "--name", "raw")
    machine.run("spec", "create", "sentiment", "-d", "raw", "-c", "good", "-c", "bad", "-i", "text")
    machine.run(
        "label", "add", "keyword", "nice", "-s", "sentiment", "-c", "text", "--class", "good", "-k", "lovely", "-k", "happy"
    )
    machine.run("label", "add", "sql", "nasty", "-s", "sentiment", "-e", "text LIKE '%awful%'", "--class", "bad")
    keys = subprocess.run(
        [sys.executable, "-m", "regrow.cli", "label", "next", "sentiment", "--training", "-n", "2"],
        input="1\nu\n2\n1\n", env=machine.environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "2 answered now" in keys.stdout
    assert "new" in machine.run("label", "apply", "-s", "sentiment")
    made = machine.json("label", "set", "sentiment", "--name", "first")
    assert {one["labeler"].rpartition("/")[2] for one in made["labelerSummaries"]} >= {"nice", "nasty"}  # type: ignore[index]
    assert made["goldRows"] == "2"  # type: ignore[index]


def test_a_killed_service_comes_back_and_calls_that_wait_succeed(machine: Machine) -> None:
    with machine.client() as client:
        for service in ("registry", "gateway"):
            before = read_state(machine.data)["services"][service]
            os.kill(before["pid"], signal.SIGKILL)
            start = time.monotonic()
            while read_state(machine.data)["services"][service] == before:
                assert time.monotonic() - start < 2.0
                time.sleep(0.02)
            assert client.predict("reviews", [{"text": "lovely"}]).predictions
    url = f"http://{read_state(machine.data)['http']}"
    start = time.monotonic()
    while not_ready(url):
        assert time.monotonic() - start < 60
        time.sleep(0.2)


def test_a_lost_admin_key_is_replaced_on_the_machine(machine: Machine) -> None:
    path = machine.home / "credentials.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "key": "rg_lost", "data_folders": {}}))
    assert "regrow keys reset" in machine.run("keys", "list", code=1)
    assert "A new admin key, shown this once" in machine.run("keys", "reset")
    assert "admin" in machine.run("login", "--check")
    assert "viewer" in machine.run("keys", "create", "app", "--role", "viewer", "-p", "default")


def test_a_second_start_on_the_folder_is_refused(machine: Machine) -> None:
    assert "Another Regrow runs on" in machine.run("up", "--free-ports", code=1)
    assert "Another Regrow runs on" in machine.run("up", "--free-ports", "--detach", code=1)
    assert machine.json("status")


def test_up_in_the_foreground_ends_in_order_at_ctrl_c(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    command = [sys.executable, "-m", "regrow.cli", "up", "--free-ports"]
    with subprocess.Popen(
        command,
        env=machine.environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C stops it" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        known = read_state(machine.data)["services"]
        process.send_signal(signal.SIGINT)
        said += process.stdout.read()
        assert process.wait(60) == 0, said
    assert "Your admin key, shown this once" in said
    assert "Traceback" not in said
    assert not any(processes.is_alive(one) for one in known.values())
    assert "rg_" not in "".join(path.read_text() for path in (machine.data / "logs").iterdir())


def test_a_start_in_the_background_says_what_it_waits_for_as_it_waits(tmp_path: Path) -> None:
    waiting = Machine(tmp_path)
    up = ["up", "--detach", "--free-ports", "--set", "REGROW_KAFKA_BOOTSTRAP=127.0.0.1:1"]
    started = subprocess.Popen(
        [sys.executable, "-m", "regrow.cli", *up], cwd=waiting.home, env=waiting.environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert started.stderr is not None
    try:
        told = started.stderr.readline()  # the test's time limit is the limit: the start itself would wait for 90 s
    finally:
        waiting.run("down")
    started.communicate(timeout=60)
    assert started.returncode == 1
    assert told.startswith("Not ready yet: events can't be reached: Kafka at 127.0.0.1:1 doesn't answer as PLAINTEXT: ")
    assert "Try again" not in told
