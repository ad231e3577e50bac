"""`python -m benchmarks [SCENARIO…] [--quick]`: ours beside the textbook recipe; docs/performance.md says how it is done.

`table` prints the newest results again, `docs` puts them into docs/performance.md. Also `backlog`, `fairness`, `soak`, `pages`, `sizes`,
`sweep`, `indexes` and `drain`, which look at ours alone: figures to compare changes by, not promises.
"""

from __future__ import annotations

import argparse
import signal
import sys

from benchmarks import admin_pages, backlog, compare, documented, fairness, report, scale, soak
from benchmarks.figures import load, newest
from benchmarks.scenarios import SCENARIOS


def main() -> None:
    # Else SIGTERM would leave the servers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if sys.argv[1:2] and sys.argv[1] in ("backlog", "fairness", "soak", "pages", *scale.CASES):
        _alone()
        return
    if sys.argv[1:] == ["docs"]:
        documented.write()
        return
    if sys.argv[1:] == ["table"]:
        if (path := newest()) is None:
            raise SystemExit("There are no results yet: `make bench` makes them.")
        report.show(load(path), report.console())
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"all, or any of {', '.join(SCENARIOS)}")
    parser.add_argument("--quick", action="store_true", help="one short round of everything: to see whether it runs")
    parser.add_argument("--rounds", type=int, help="instead of five")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.scenarios if name not in SCENARIOS]:
        parser.error(
            f"there is no scenario {unknown[0]!r}; there are table, docs, backlog, fairness, soak, pages, {', '.join(scale.CASES)} and {', '.join(SCENARIOS)}"
        )
    if arguments.rounds is not None and arguments.rounds < 1:
        parser.error("--rounds must be 1 or more")
    compare.run(arguments.scenarios, quick=arguments.quick, rounds=arguments.rounds)


def _alone() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    cases = parser.add_subparsers(dest="case", required=True)
    how_fast = cases.add_parser("backlog", help=backlog.__doc__)
    how_fast.add_argument("--rows", type=int, default=20_000)
    how_fair = cases.add_parser("fairness", help=fairness.__doc__)
    how_fair.add_argument("--rounds", type=int, default=3)
    how_fair.add_argument("--black-holes", type=int, default=fairness.BLACK_HOLES)
    how_fair.add_argument("--rows", type=int, default=fairness.BLACK_HOLE_ROWS)
    how_fair.add_argument("--flood", type=int, default=fairness.FLOOD_ROWS)
    how_long = cases.add_parser("soak", help=soak.__doc__)
    how_long.add_argument("--minutes", type=float, default=20)
    how_long.add_argument("--rate", type=float, help="posts a second; without it, half of what is measured first")
    for case, (rows, what) in scale.CASES.items():
        how_large = cases.add_parser(case, help=what)
        how_large.add_argument("--rows", type=int, default=rows)
    how_shown = cases.add_parser("pages", help=admin_pages.__doc__)
    how_shown.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    if arguments.case == "fairness":
        fairness.run(arguments.rounds, arguments.black_holes, arguments.rows, arguments.flood)
    elif arguments.case == "pages":
        admin_pages.run(arguments.rows)
    elif arguments.case == "soak":
        soak.run(arguments.minutes, arguments.rate)
    elif arguments.case in scale.CASES:
        scale.run(arguments.case, rows=arguments.rows)
    else:
        backlog.run(arguments.rows)


if __name__ == "__main__":
    main()
