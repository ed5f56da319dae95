"""Log lines: one shape for the product's and for libraries' lines, with the service and the call in it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from services.common.rpc.principal import acting_as, service_principal
from services.common.telemetry import configure_logging


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_lines_are_json_with_service_and_request_id(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("shop")
    with acting_as(service_principal("x"), "req-1"):
        structlog.get_logger().info("sold", apples=3)
    line = json.loads(capsys.readouterr().err)
    assert line.pop("time").endswith("Z")
    assert line == {"event": "sold", "apples": 3, "service": "shop", "request_id": "req-1", "level": "info"}


def test_a_librarys_line_takes_the_same_shape(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("shop")
    logging.getLogger("some.library").warning("odd %s", "thing")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["service"], line["logger"], line["level"]) == ("odd thing", "shop", "some.library", "warning")


def test_a_level_silences_what_is_below(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("shop", level="WARNING")
    structlog.get_logger().info("quiet")
    logging.getLogger("some.library").info("quiet")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_shows_the_error_and_no_local_variables(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("shop", json=as_json)
    try:
        hidden = "local-" + "secret"
        raise ValueError(len(hidden))
    except ValueError:
        structlog.get_logger().exception("failed")
    written = capsys.readouterr().err
    assert "ValueError: 12" in written
    assert "local-secret" not in written
