from __future__ import annotations

import pytest

from benchmarks.figures import Results
from benchmarks.model import bound, predictions


def test_one_interpreter_is_the_bound_while_there_are_cores_to_spare() -> None:
    assert bound(8, {"worker": 0.25, "database": 0.1}) == (4000, "worker's interpreter")


def test_the_cores_are_the_bound_where_all_are_used() -> None:
    rate, by = bound(2, {"worker": 0.2, "worker2": 0.2, "database": 0.4})

    assert rate == pytest.approx(2500)
    assert by == "the machine's cores"


def test_a_database_uses_all_the_cores_it_gets() -> None:
    assert bound(4, {"database": 1.0}) == (4000, "the machine's cores")


def test_accepting_and_delivering_together_cost_what_each_costs_alone() -> None:
    results = Results(machine={"cores": 2}, quick=False)
    results.figure("accept", "accepted", "/s", ours=[900], cpu={"ours": {"web": [1.0], "database": [0.3]}})
    delivering = {"worker": [0.1], "worker2": [0.2], "database": [0.1]}
    results.figure("deliver", "delivered", "/s", ours=[3000], cpu={"ours": delivering})
    results.figure("together", "both", "/s", ours=[700])

    accepted, delivered, both = predictions(results)

    assert (accepted.rate, accepted.bound_by, accepted.measured) == (1000, "web's interpreter", 900)
    assert delivered.rate == pytest.approx(5000)
    assert delivered.measured == 3000
    assert (both.rate, both.bound_by, both.measured) == (1000, "web's interpreter", 700)
