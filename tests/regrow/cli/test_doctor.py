"""`regrow doctor`: what it makes of the gateway's status, and of what several services find alike."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

import regrow
from regrow.cli.doctor import Line, _of_status, _show, together
from regrow.gateway.v1 import gateway_pb2

NOW = datetime(2026, 3, 27, 12, tzinfo=UTC)


def status() -> gateway_pb2.Status:
    """Of a system that is well."""
    made = gateway_pb2.Status(software_version=regrow.__version__)
    made.clock_time.FromDatetime(NOW)
    for name in ("gateway", "labeling", "training", "registry"):
        service = made.services.add(service=name, ready=True, software_version=regrow.__version__)
        service.clock_time.FromDatetime(NOW)
    made.consumer_lags.add(group="labeling", topic="regrow.feedback", waiting_events=3)
    return made


def findings(told: gateway_pb2.Status) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    for line in _of_status("gateway (API)", told, NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)):
        found.setdefault(line.check, []).append(line)
    return found


def test_a_system_that_is_well_has_no_finding_to_act_on() -> None:
    lines = [line for found in findings(status()).values() for line in found]
    assert len(lines) > 8 and {line.verdict for line in lines} == {"ok"} and not any(line.todo for line in lines)


@pytest.mark.parametrize(("minutes", "verdict"), [(1, "warning"), (-10, "problem")])
def test_a_clock_that_is_off_is_told_of_the_gateway_and_of_what_is_behind_it(minutes: int, verdict: str) -> None:
    told = status()
    told.services[2].clock_time.FromDatetime(NOW + timedelta(minutes=minutes))
    (behind,) = findings(told)["clock of training"]
    assert behind.verdict == verdict and f"{abs(minutes) * 60}.0 s" in behind.found and "NTP" in behind.todo
    told.clock_time.FromDatetime(NOW + timedelta(minutes=minutes))
    (own,) = findings(told)["clock"]
    assert own.verdict == verdict and "this machine's" in own.found


def test_a_service_that_is_not_ready_or_runs_another_version_is_told_with_what_to_do() -> None:
    told = status()
    told.services[1].ready, told.services[1].problem = False, "The database can't be reached."
    told.services[3].software_version = "0.0.9"
    found = findings(told)
    (away,) = found["service labeling"]
    assert (away.verdict, away.found) == ("problem", "The database can't be reached.") and "doctor" in away.todo
    assert [line.verdict for line in found["service registry"]] == ["ok", "warning"]
    assert "0.0.9" in found["service registry"][1].found and "one version" in found["service registry"][1].todo


def test_a_client_of_another_version_and_a_reader_that_lags_are_told() -> None:
    told = status()
    told.software_version = "9.9.9"
    told.consumer_lags[0].waiting_events = 20_000
    found = findings(told)
    assert found["version"][0].verdict == "warning" and found["version"][0].todo == "pip install regrow==9.9.9"
    assert found["lag of labeling"][0].verdict == "warning" and "20,000 events" in found["lag of labeling"][0].found


def test_what_every_service_finds_alike_is_one_line_and_nothing_is_left_out() -> None:
    disk = Line(where="", check="disk", verdict="ok", found="65 GiB are free.")
    database = Line(where="labeling", check="database", verdict="problem", found="It is locked.", todo="Wait.")
    services = ("registry", "labeling", "training", "gateway")
    shown = together([*(replace(disk, where=name) for name in services), database, replace(database, where="training")])
    assert [(line.where, line.check) for line in shown] == [("every service", "disk"), ("labeling, training", "database")]
    assert shown[1] == replace(database, where="labeling, training")


def test_the_summary_counts_what_the_table_shows(capsys: pytest.CaptureFixture[str]) -> None:
    away = Line(where="", check="event log", verdict="problem", found="It can't be reached.", todo="Start it.")
    _show([replace(away, where=name) for name in ("registry", "labeling", "training", "gateway")])
    printed = capsys.readouterr()
    assert printed.out.count("can't be reached") == 1 and printed.err.strip() == "1 problem."
