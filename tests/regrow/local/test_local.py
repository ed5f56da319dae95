"""The supervisor and the launcher on tiny services, with real processes, signals, ports and locks."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from regrow.local import LaunchError, Local, end, launcher, processes
from regrow.local.ports import free_ports, problem_of, who_listens
from regrow.local.supervisor import FIRST_PAUSE, STEADY_AFTER, Child, read_state

TINY = Path(__file__).parent / "tiny_service.py"


def command(service: str) -> list[str]:
    return [sys.executable, str(TINY), service]


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def make(tmp_path: Path, lines: list[str]) -> Iterator[Callable[[], Local]]:
    made: list[Local] = []

    def one() -> Local:
        made.append(Local(data=tmp_path / "data", free_ports=True, tell=lines.append, command=command))
        return made[-1]

    yield one
    for local in made:
        local.stop()


def pid_of(local: Local, service: str) -> int:
    return int(read_state(local.data)["services"][service]["pid"])


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> float:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "it did not happen in time"
        time.sleep(0.01)
    return time.monotonic() - start


def starts(data: Path, service: str) -> list[str]:
    path = data / f"{service}.starts"
    return path.read_text().splitlines() if path.exists() else []


def test_all_four_services_run_and_stop_with_nothing_left(make: Callable[[], Local]) -> None:
    local = make().start()
    known = read_state(local.data)
    assert set(known["services"]) == {"registry", "labeling", "training", "gateway"}
    assert known["ready"] is True
    assert all(processes.is_alive(one) for one in known["services"].values())
    local.stop()
    assert not any(processes.is_alive(one) for one in known["services"].values())
    assert read_state(local.data) == {}


@pytest.mark.slow
def test_the_first_admin_key_is_caught_once_and_never_logged(make: Callable[[], Local]) -> None:
    first = make().start()
    assert first.admin_key == "rg_abcdefgh_" + "x" * 43
    wait_until(lambda: "an ordinary line" in (first.data / "logs" / "gateway.log").read_text())
    first.stop()
    second = make().start()
    assert second.admin_key == ""
    assert "rg_abcdefgh" not in "".join(path.read_text() for path in (first.data / "logs").iterdir())


@pytest.mark.parametrize("service", ["labeling", "gateway"])
def test_a_killed_service_is_back_within_a_second(make: Callable[[], Local], lines: list[str], service: str) -> None:
    local = make().start()
    before = pid_of(local, service)
    os.kill(before, signal.SIGKILL)
    assert wait_until(lambda: pid_of(local, service) != before) < 1.0
    assert processes.is_alive(read_state(local.data)["services"][service])
    assert any(f"{service} died (signal 9)" in line for line in lines)


def test_pauses_double_for_quick_deaths_and_begin_again_after_a_steady_time() -> None:
    child = Child(service="labeling", started=0.0)
    assert [child.died(1.0) for _ in range(4)] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE, 8 * FIRST_PAUSE]
    child.started = 100.0
    assert child.died(100.0 + STEADY_AFTER) == FIRST_PAUSE
    for _ in range(30):
        last = child.died(100.0)
    assert last == 30.0


@pytest.mark.slow
def test_a_service_that_never_starts_is_reported_with_the_end_of_its_log(make: Callable[[], Local], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "labeling.broken").touch()
    with pytest.raises(LaunchError, match="labeling does not start") as caught:
        make().start()
    assert "the database is from the future" in str(caught.value)
    assert read_state(tmp_path / "data") == {}


def test_what_starting_again_cannot_cure_is_told_in_the_services_words(make: Callable[[], Local], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "training.refused").touch()
    with pytest.raises(LaunchError) as caught:
        make().start()
    assert str(caught.value) == "training does not start: REGROW_DATABASE_URL: there is no such database"
    assert len(starts(tmp_path / "data", "training")) == 2


@pytest.mark.slow
def test_a_start_that_takes_long_says_what_it_waits_for(
    make: Callable[[], Local], tmp_path: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "SILENCE", 0.0)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "registry.waits").touch()
    (tmp_path / "data" / "objects.broken").touch()
    with pytest.raises(LaunchError, match=r"did not become ready in 3 s.*What it lacks: Kafka doesn't answer\."):
        make().start(ready_within=3.0)
    assert lines[-1] == "Not ready yet: Kafka doesn't answer."
    (tmp_path / "data" / "registry.waits").unlink()
    (tmp_path / "data" / "logs" / "registry.log").unlink()
    with pytest.raises(LaunchError, match="What it lacks: objects: is away"):
        make().start(ready_within=3.0)


def test_a_second_start_on_the_same_folder_is_refused(make: Callable[[], Local]) -> None:
    local = make().start()
    with pytest.raises(LaunchError, match="Another Regrow runs on") as caught:
        make().start()
    assert local.url in str(caught.value)
    assert processes.is_alive(read_state(local.data)["services"]["gateway"])


def test_a_folder_that_can_not_be_one_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(LaunchError, match=r"can't be the data folder: .*Name another with --data"):
            launcher.refuse_unfit(folder)


def test_a_start_in_the_background_leaves_the_log_of_the_running_one_alone(make: Callable[[], Local]) -> None:
    local = make()
    with local, pytest.raises(LaunchError, match="Another Regrow runs on"):
        launcher.refuse_unfit(local.data)


def test_a_taken_port_is_told_with_its_holder(make: Callable[[], Local]) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = squatter.getsockname()[1]
        local = make()
        local.settings = {"REGROW_LABELING_ADDRESS": f"127.0.0.1:{port}"}
        with pytest.raises(LaunchError, match=f"Port {port} is taken by process {os.getpid()} ") as caught:
            local.start()
    assert "REGROW_LABELING_ADDRESS" in str(caught.value)
    assert starts(local.data, "registry") == []


def test_an_address_that_is_none_is_told(make: Callable[[], Local]) -> None:
    local = make()
    local.settings = {"REGROW_REGISTRY_ADDRESS": "localhost:http"}
    with pytest.raises(LaunchError, match="REGROW_REGISTRY_ADDRESS: 'localhost:http' is no address"):
        local.start()


def test_two_services_at_one_address_are_told(make: Callable[[], Local]) -> None:
    local, port = make(), free_ports(1)[0]
    local.settings = {"REGROW_LABELING_ADDRESS": f"127.0.0.1:{port}", "REGROW_TRAINING_ADDRESS": f"127.0.0.1:{port}"}
    with pytest.raises(LaunchError, match="are both"):
        local.start()


SUPERVISE = """
import sys, time
from pathlib import Path
from regrow.local import Local
local = Local(data=Path(sys.argv[1]), free_ports=True, command=lambda s: [sys.executable, sys.argv[2], s]).start()
print("ready", flush=True)
time.sleep(60)
"""


def supervise_elsewhere(data: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", SUPERVISE, str(data), str(TINY)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.slow
def test_leftovers_of_a_killed_supervisor_are_ended_by_the_next(make: Callable[[], Local], lines: list[str]) -> None:
    local = make()
    with supervise_elsewhere(local.data) as other:
        left = read_state(local.data)["services"]
        other.kill()
    assert all(processes.is_alive(one) for one in left.values())
    local.start()
    assert not any(processes.is_alive(one) for one in left.values())
    assert "Ended labeling, which an earlier start left running." in lines


def test_down_ends_a_supervisor_elsewhere_and_all_its_services(tmp_path: Path) -> None:
    with supervise_elsewhere(tmp_path / "data") as other:
        left = read_state(tmp_path / "data")["services"]
        assert end(tmp_path / "data") is True
        assert other.wait(10) == -signal.SIGTERM
    assert not any(processes.is_alive(one) for one in left.values())
    assert end(tmp_path / "data") is False


def test_down_where_nothing_ran_says_so(tmp_path: Path) -> None:
    assert end(tmp_path / "nothing") is False


def test_a_service_that_ignores_the_end_is_killed(
    make: Callable[[], Local], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regrow.local.supervisor.GRACE", 0.3)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "training.stubborn").touch()
    local = make().start()
    wait_until(lambda: bool(starts(local.data, "training")))
    training = read_state(local.data)["services"]["training"]
    local.stop()
    assert not processes.is_alive(training)


def test_a_process_number_that_was_given_out_again_is_not_taken_for_the_old_process() -> None:
    known = processes.identity(os.getpid())
    assert processes.is_alive(known)
    assert not processes.is_alive({**known, "started": "1"})
    assert processes.end([{**known, "started": "1"}], grace=0.1) == set()


def test_a_free_port_has_no_problem_and_nobody_listens() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    assert problem_of(f"127.0.0.1:{ports[0]}") is None
    assert who_listens(ports[0]) is None


def test_a_machine_without_the_services_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LaunchError, match="pip install"):
        launcher.check_installed()


def test_a_service_that_can_t_be_launched_leaves_nothing_running(make: Callable[[], Local]) -> None:
    local = make()
    local.command = lambda service: ["/nowhere/python"] if service == "training" else command(service)
    with pytest.raises(FileNotFoundError):
        local.start()
    assert local.supervisor is not None
    assert all(child.process is None or child.process.poll() is not None for child in local.supervisor.children.values())


def test_a_restart_that_fails_for_now_is_tried_again(make: Callable[[], Local], lines: list[str]) -> None:
    local, broken = make(), [False]
    local.command = lambda service: ["/nowhere/python"] if broken[0] and service == "labeling" else command(service)
    local.start()
    broken[0] = True
    before = pid_of(local, "labeling")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: any("labeling can't be started (No such file" in line for line in lines))
    broken[0] = False
    wait_until(lambda: pid_of(local, "labeling") != before)
    assert processes.is_alive(read_state(local.data)["services"]["labeling"])
