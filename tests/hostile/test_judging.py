"""The judge of the hostile suites sees what it must: text of the inside, and not what the caller sent itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hostile_system import System, unexpected


def judge(folder: Path = Path()) -> System:
    local: Any = SimpleNamespace(data=folder)
    client: Any = None
    return System(local, client, {}, frozenset())


@pytest.mark.parametrize(
    "text",
    [
        "Traceback (most recent call last):", "no such table: (sqlite3.OperationalError)", "/srv/services/app.py line 3",
        "ValueError('x')", "<Row object at 0x7f00>", "psycopg.errors.UniqueViolation", "it is in /tmp/regrow/objects",
    ],
)  # fmt: skip
def test_text_of_the_inside_is_a_leak(text: str) -> None:
    assert judge().problem(text)


def test_what_the_caller_sent_is_none() -> None:
    assert not judge().problem("name: 'a.py' isn't a name.", sent="a.py")
    assert judge().problem("name: 'a.py' isn't a name, /tmp/x", sent="a.py")
    assert not judge().problem("rows[0].age: 'old' is no number.")


def test_a_line_about_what_nobody_foresaw_is_found(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "gateway.log"
    log.write_text('{"event": "call", "level": "info"}\nnot JSON\n')
    assert unexpected(judge(tmp_path)) == []
    log.write_text('{"event": "unexpected", "place": "GetRun", "exception": "KeyError"}\n')
    assert unexpected(judge(tmp_path)) == ["gateway.log: GetRun: KeyError"]
