"""The batch window: a line fitted to what batches took, and what follows from it."""

from __future__ import annotations

import pytest

from services.gateway.inference.window import Window, fitted


def window(*samples: tuple[int, float], gap: float | None = None) -> Window:
    made = Window(most_rows=64)
    for rows, seconds in samples:
        made.measured(rows, seconds, now=0.0)
    if gap is not None:
        for step in range(20):
            made.arrived(step * gap)
    return made


def test_a_line_through_batches_of_several_sizes_is_found_again() -> None:
    line = fitted([(n, 0.002 * n + 0.010) for n in (1, 4, 16, 64)])
    assert line.known
    assert (line.per_row, line.fixed) == pytest.approx((0.002, 0.010))


def test_what_large_batches_took_by_chance_is_no_fixed_time_of_the_small_ones() -> None:
    line = fitted([(1, 0.0011), (1, 0.0012), (8, 0.0014), (2_000, 0.08), (2_000, 0.11), (10_000, 0.25), (10_000, 0.45)])
    assert line.per_row * 10_000 + line.fixed == pytest.approx(0.33, rel=0.4)
    assert line.per_row + line.fixed == pytest.approx(0.0011, rel=0.4)


def test_one_size_alone_tells_what_a_row_takes_and_not_what_batching_saves() -> None:
    line = fitted([(4, 0.04), (4, 0.06)])
    assert not line.known
    assert (line.per_row, line.fixed) == pytest.approx((0.0125, 0.0))


@pytest.mark.parametrize(
    ("samples", "rows"),
    [
        ([(1, 0.0011), (64, 0.0074)], 64),  # mostly fixed: as many as allowed
        ([(1, 0.011), (16, 0.026)], 64),
        ([(1, 0.0105), (16, 0.1605)], 1),  # 0.5 ms of fixed time beside 10 ms a row: not worth waiting for
        ([(1, 0.005), (16, 0.120)], 1),  # batches take longer than their rows alone
        ([(1, 0.0041), (16, 0.0416)], 12),
        ([(1, 0.01)], 64),  # nobody knows yet: whoever waits anyway is computed together, and then it is known
    ],
)
def test_a_batch_is_as_large_as_it_is_worth(samples: list[tuple[int, float]], rows: int) -> None:
    assert window(*samples).rows() == rows


def test_a_lone_call_at_a_slow_rate_never_waits() -> None:
    assert window((1, 0.011), (16, 0.026), gap=0.5).wait(1, now=9.5) == 0.0


def test_calls_wait_for_more_while_that_saves_more_than_it_costs_and_never_longer_than_a_batch_saves() -> None:
    quick = window((1, 0.011), (16, 0.026), gap=0.001)  # saves 10 ms a call, and one comes each millisecond
    now = 0.019
    assert 0.0 < quick.wait(1, now) <= 0.0101
    assert quick.wait(5, now) < quick.wait(2, now)
    assert quick.wait(12, now) == 0.0
    assert quick.wait(2, now + 0.006) == 0.0  # none came for a while


def test_where_batching_saves_nothing_nobody_waits() -> None:
    assert window((1, 0.005), (16, 0.120), gap=0.0001).wait(2, now=0.0019) == 0.0


def test_what_was_measured_a_minute_ago_counts_no_more() -> None:
    made = window((1, 5.0))
    assert made.seconds(2) == pytest.approx(10.0)
    made.arrived(61.0)
    assert made.line is None
    assert made.seconds(2) == 0.0


def test_the_newest_fifty_measurements_count() -> None:
    made = window(*[(1, 9.0)] * 50, *[(1, 0.1), (2, 0.2)] * 25)
    assert made.seconds(10) == pytest.approx(1.0)
