"""What runs is killed at random moments of the loop; nothing that was acknowledged is lost or counted twice."""

from __future__ import annotations

from pathlib import Path

import chaos
import pytest

from regrow.local.supervisor import SERVICES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_the_loop_ends_by_itself_and_keeps_every_acknowledged_event_once_though_each_service_is_killed(tmp_path: Path):
    outcome = chaos.run(tmp_path, kills=1, seed=3, pause=(2.0, 6.0), least_events=120, feedback_count=100)
    assert outcome.problems() == []
    assert sorted(service for _, service, _ in outcome.kills) == sorted(SERVICES)
    assert all(outcome.restarts[service] >= 1 for service in SERVICES)
    assert len(outcome.acknowledged) >= 120
    assert outcome.unmatched  # feedback about predictions that never were is kept too


def test_it_does_so_on_real_engines_though_each_of_them_is_killed_too(tmp_path: Path):
    with chaos.real_engines(tmp_path / "engines") as engines:
        outcome = chaos.run(
            tmp_path / "data", kills=1, seed=4, pause=(2.0, 5.0), least_events=120, feedback_count=100, engines=engines
        )
    assert outcome.problems() == []
    assert sorted(victim for _, victim, _ in outcome.kills) == sorted([*SERVICES, "kafka", "minio", "postgresql"])
    assert outcome.objects > 10 and len(outcome.acknowledged) >= 120
