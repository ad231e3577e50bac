"""`python -m benchmarks [backlog|fairness|soak|pages]`: figures to compare changes by, side by side in one run; not promises."""

from __future__ import annotations

import argparse

from benchmarks import admin_pages, backlog, fairness, soak


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    cases = parser.add_subparsers(dest="case")
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
    how_shown = cases.add_parser("pages", help=admin_pages.__doc__)
    how_shown.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    if arguments.case == "fairness":
        fairness.run(arguments.rounds, arguments.black_holes, arguments.rows, arguments.flood)
    elif arguments.case == "pages":
        admin_pages.run(arguments.rows)
    elif arguments.case == "soak":
        soak.run(arguments.minutes, arguments.rate)
    else:
        backlog.run(getattr(arguments, "rows", 20_000))


if __name__ == "__main__":
    main()
