"""How long a claimer rests between turns, and for how many a turn is."""

from __future__ import annotations

import pytest

from deliveries.claimer import (
    FEWEST_PARTNERS,
    LONGEST_REST_SECONDS,
    TURN_PARTNERS,
    partners_next,
    rest_seconds,
)
from deliveries.woken import ENOUGH_ROWS
from notifier.rest import MOST_RESTS


@pytest.mark.parametrize(
    ("rows", "took", "rest"),
    [
        pytest.param(1, 0.003, 0.0, id="an idle machine"),
        pytest.param(1, 0.010, 0.006, id="a busy one"),
        pytest.param(10, 0.010, 0.012, id="a busy one, with some to do"),
        pytest.param(40, 0.010, 0.024, id="and with much"),
        pytest.param(1, 5.0, LONGEST_REST_SECONDS, id="one that hardly goes on"),
        pytest.param(40, 5.0, LONGEST_REST_SECONDS * MOST_RESTS, id="with much to do"),
        pytest.param(ENOUGH_ROWS, 5.0, 0.0, id="a turn that was worth it"),
    ],
)
def test_the_rest_is_what_a_turn_for_few_rows_took_too_long(rows: int, took: float, rest: float) -> None:
    assert rest_seconds(rows, took) == pytest.approx(rest)


@pytest.mark.parametrize(
    ("most", "served", "unfinished", "rows", "then"),
    [
        pytest.param(100, 100, 51, 300, 50, id="most have more"),
        pytest.param(
            FEWEST_PARTNERS, FEWEST_PARTNERS, FEWEST_PARTNERS, 400, FEWEST_PARTNERS,
            id="all have more, and few are served",
        ),
        pytest.param(50, 50, 20, 150, 50, id="some have more"),
        pytest.param(48, 48, 11, 150, 54, id="few have more"),
        pytest.param(TURN_PARTNERS - 1, TURN_PARTNERS - 1, 0, 99, TURN_PARTNERS, id="few have more, and hardly more may be served"),
        pytest.param(TURN_PARTNERS, TURN_PARTNERS, 0, 100, TURN_PARTNERS, id="none has more, and many are served"),
        pytest.param(50, 49, 0, 49, 50, id="there were no others, and none has more"),
        pytest.param(50, 40, 21, 200, 25, id="there was no room for others, and most of these have more"),
        pytest.param(TURN_PARTNERS, 1, 1, 4, TURN_PARTNERS, id="one alone has more"),
        pytest.param(34, 34, 0, 340, 36, id="of as many as can have a row beyond their ten"),
        pytest.param(36, 36, 0, 360, 36, id="with one more partner each of them would have just its ten"),
        pytest.param(40, 40, 0, 400, 40, id="no fewer, as nobody has more"),
        pytest.param(16, 16, 0, 0, 18, id="nobody had anything"),
    ],
)  # fmt: skip
def test_a_turn_is_for_fewer_partners_while_most_have_more_than_their_part(
    most: int, served: int, unfinished: int, rows: int, then: int
) -> None:
    assert partners_next(most, served=served, unfinished=unfinished, rows=rows) == then
