"""Real engines for all tests; and says at the end, once per reason, what was skipped and which setting would run it."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

from real_engines import kafka, minio, postgres, postgres_database

__all__ = ["kafka", "minio", "postgres", "postgres_database"]


settings.register_profile("tests", deadline=None)  # a busy machine isn't a mistake
settings.load_profile("tests")

# Servers of one test go on logging beside the next, whose own output must stay clean.
structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.__stderr__))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz",
        type=int,
        default=1,
        help="so many times the requests of tests/hostile, up to all values in every field; over 1, others at random",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = Counter(str(report.longrepr[2]) for report in terminalreporter.getreports("skipped") if report.longrepr)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count} skipped: {reason.removeprefix('Skipped: ')}")
