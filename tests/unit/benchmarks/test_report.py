from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.figures import Figure, Results, load


def results() -> Results:
    return Results(machine={"cpu": "test", "cores": 2}, quick=True)


def test_the_ratio_is_that_of_the_medians_and_the_spread_that_of_the_rounds() -> None:
    figure = Figure(name="deliver", title="delivered", unit="/s", ours=[3000, 3600, 1000], recipe=[300, 200, 100])

    assert figure.ratio == 15
    assert figure.spread == (10, 18)


def test_a_figure_without_the_other_side_has_no_ratio() -> None:
    figure = Figure(name="batch", title="batch", unit="/s", ours=[5000])

    assert figure.ratio is None
    assert report.row(figure)[2:5] == ("–", "–", "–")


def test_cpu_is_summed_over_the_processes_without_the_receiver() -> None:
    figure = Figure(name="deliver", title="delivered", unit="/s")

    figure.add_cpu("ours", {"worker": 2.0, "database": 1.0, "receiver": 9.0}, 1000)
    figure.add_cpu("ours", {"worker": 4.0, "database": 1.0, "receiver": 9.0}, 1000)

    assert figure.cpu_total("ours") == pytest.approx(4.0)
    assert figure.cpu_total("recipe") is None


def test_the_last_line_names_every_ratio_and_says_what_was_not_measured() -> None:
    measured = results()
    for name in ("deliver", "deliver_sparse", "deliver_300ms", "accept", "together"):
        measured.figure(name, name, "/s", ours=[31.0], recipe=[2.0])
    measured.figure("latency_p95", "latency", "ms", ours=[12.0, 14.0, 13.0])

    assert report.last_line(measured) == (
        "bench: deliver_ratio=15.50 deliver_sparse_ratio=15.50 deliver_300ms_ratio=15.50 accept_ratio=15.50 "
        "batch_ratio=n/a together_ratio=15.50 together_batch_ratio=n/a latency_p95_ms=13.00"
    )


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    measured = results()
    measured.figure("deliver", "delivered", "/s", goal="≥ 15 ×", ours=[1.5], recipe=[0.5]).note("in flight", 7)
    measured.curves["scale"] = {"rows": [1000, 2_000_000]}

    measured.save(tmp_path / "made.json")

    assert load(tmp_path / "made.json") == measured
