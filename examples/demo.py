"""The whole loop on real data: import, spec, labels from a small seed, training, registry, serving, feedback, regrowth, swap.

    python examples/demo.py                 # tells both stories, then leaves the gateway running until Ctrl-C
    python examples/demo.py --exit          # ends when the stories are told
    python examples/demo.py --story youtube --data DIR

Starts the four services on this machine and talks to them through the public API alone. The exit code is 0 only where every
step of the loop happened.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import demo_womens
import demo_youtube
from demo_http import Rest
from demo_report import Report, StepFailed

from regrow import CallError, Client
from regrow.local import LaunchError, Local, reset_key
from regrow.local.launcher import PORTS
from regrow.local.ports import problem_of


def main() -> int:
    """Tells the stories; answers the exit code."""
    asked = _arguments()
    report = Report()
    try:
        with _folder(asked.data) as folder, _started(report, folder) as local, _client(local) as client:
            rest = Rest(url=local.url, key=local.admin_key)
            if asked.story in ("womens", "all"):
                demo_womens.tell(client, rest, report)
            if asked.story in ("youtube", "all"):
                demo_youtube.tell(client, rest, report)
            report.summary()
            if not asked.exit:
                _stay(report, rest, "reviews" if asked.story != "youtube" else "spam")
    except KeyboardInterrupt:
        report.say("Stopped.")
        return 130
    except (StepFailed, TimeoutError, LaunchError, CallError) as failure:
        report.say(f"✗ {failure}", style="bold red")
        fields = dict(failure.fields) if isinstance(failure, CallError) else {}
        for field, problem in fields.items():
            report.say(f"  {field}: {problem}", style="red")
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The whole loop of Regrow on real data.")
    parser.add_argument("--exit", action="store_true", help="end when the stories are told, instead of serving on")
    parser.add_argument("--data", type=Path, help="an empty data folder to keep (default: a temporary one, removed at the end)")
    parser.add_argument("--story", choices=("womens", "youtube", "all"), default="all")
    return parser.parse_args()


@contextmanager
def _folder(named: Path | None) -> Iterator[Path]:
    if named is None:
        with tempfile.TemporaryDirectory(prefix="regrow-demo-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
        return
    if named.exists() and any(named.iterdir()):
        raise StepFailed(f"{named} is not empty. Name a new folder, or leave --data out.")
    named.mkdir(parents=True, exist_ok=True)
    yield named


@contextmanager
def _started(report: Report, folder: Path) -> Iterator[Local]:
    taken = [port for port in PORTS.values() if problem_of(f"127.0.0.1:{port}")]
    if taken:
        report.say(f"The usual ports {', '.join(map(str, taken))} are taken, so free ones are used.", style="dim")
    with report.step("Start the four services"):
        local = Local(data=folder, free_ports=bool(taken), tell=lambda line: report.say(line, style="dim")).start()
    try:
        if not local.admin_key:
            local.admin_key = reset_key(folder)
        report.say(f"Registry, labeling, training and the gateway run. REST: {local.url}   gRPC: {local.grpc_address}")
        report.say(f"Data folder: {folder}", style="dim")
        yield local
    finally:
        local.stop()


def _client(local: Local) -> Client:
    return Client(local.grpc_address, local.admin_key)


def _stay(report: Report, rest: Rest, model: str) -> None:
    """Serves until Ctrl-C or SIGTERM."""
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    report.console.print()
    report.good(f"The gateway goes on at {rest.url} (Ctrl-C ends it). Try it:")
    report.command(f"export REGROW_KEY={rest.key}")
    report.command(rest.line(f"/v1/projects/default/models/{model}:served"))
    report.command(rest.line("/v1/status"))
    try:
        while not asked.wait(1.0):
            pass
    except KeyboardInterrupt:
        pass
    report.say("Stopping.")


if __name__ == "__main__":
    sys.exit(main())
