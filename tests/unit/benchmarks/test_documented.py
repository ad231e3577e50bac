from __future__ import annotations

from benchmarks import documented
from benchmarks.figures import Results, load, newest


def test_the_page_has_the_newest_results() -> None:
    path = newest()
    page = documented.PAGE.read_text()

    filled = documented.fill(page, load(path) if path else None)

    assert filled == page, "docs/performance.md is not that of the newest results: run `make bench ARGS=docs`"


def test_a_marked_part_is_made_anew_and_the_rest_stays() -> None:
    results = Results(machine={}, quick=False)
    results.figure("pool_threads_4_0", "recipe, threads × 4", "/s", recipe=[150.0])

    filled = documented.fill("before\n<!-- figures: pools -->\nold\n<!-- end -->\nafter\n", results)

    assert filled == (
        "before\n<!-- figures: pools -->\n| pool | delivered/s | CPU ms each |\n|---|--:|--:|\n"
        "| recipe, threads × 4 | 150 | – |\n<!-- end -->\nafter\n"
    )
