"""How long a claimer rests between turns."""

from __future__ import annotations

import pytest

from deliveries.claimer import FEW_ROWS, LONGEST_REST_SECONDS, MOST_RESTS, rest_seconds


@pytest.mark.parametrize(
    ("rows", "took", "rest"),
    [
        pytest.param(1, 0.003, 0.0, id="an idle machine"),
        pytest.param(1, 0.010, 0.006, id="a busy one"),
        pytest.param(10, 0.010, 0.012, id="a busy one, with some to do"),
        pytest.param(40, 0.010, 0.024, id="and with much"),
        pytest.param(1, 5.0, LONGEST_REST_SECONDS, id="one that hardly goes on"),
        pytest.param(40, 5.0, LONGEST_REST_SECONDS * MOST_RESTS, id="with much to do"),
        pytest.param(FEW_ROWS, 5.0, 0.0, id="a turn that was worth it"),
    ],
)
def test_the_rest_is_what_a_turn_for_few_rows_took_too_long(rows: int, took: float, rest: float) -> None:
    assert rest_seconds(rows, took) == pytest.approx(rest)
