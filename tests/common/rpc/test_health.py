"""The health check that containers run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from services.common.errors import EngineUnavailable
from services.common.rpc.health import main
from services.common.rpc.server import RunningServer

Serve = Callable[..., RunningServer]


def test_a_server_that_works_passes_and_one_that_lacks_an_engine_or_is_not_there_does_not(
    start: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise EngineUnavailable("database", "it is gone")

    well, ill = start(), start(ready={"database": broken})
    assert main([f"127.0.0.1:{well.port}"]) == 0 and capsys.readouterr().err == ""
    assert main([f"127.0.0.1:{ill.port}"]) == 1
    assert "database" in capsys.readouterr().err
    well.stop(0)
    assert main([f"127.0.0.1:{well.port}"]) == 1
    assert "doesn't answer" in capsys.readouterr().err


def test_it_asks_for_a_server_to_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2 and "HOST:PORT" in capsys.readouterr().err
