"""Every service is killed once at a random moment of the loop; nothing that was acknowledged is lost or counted twice."""

from __future__ import annotations

from pathlib import Path

import chaos
import pytest

from regrow.local.supervisor import SERVICES


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_loop_ends_by_itself_and_keeps_every_acknowledged_event_once_though_each_service_is_killed(tmp_path: Path):
    outcome = chaos.run(tmp_path, kills=1, seed=3, pause=(2.0, 6.0), least_events=120, feedback_count=100)
    assert outcome.problems() == []
    assert sorted(service for _, service, _ in outcome.kills) == sorted(SERVICES)
    assert all(outcome.restarts[service] >= 1 for service in SERVICES)
    assert len(outcome.acknowledged) >= 120
    assert outcome.unmatched  # feedback about predictions that never were is kept too
