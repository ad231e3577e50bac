"""The show's table: redrawn in place on a terminal, otherwise a line for each change."""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import dataclass
from typing import TextIO

# Together 79 columns: a terminal's usual 80 hold the table.
WIDTHS = (22, 16, 5, 22)
HEADINGS = ("NOTIFICATION", "STATUS", "TRIES", "LAST ANSWER")
COLOURS = {"succeeded": "32", "dead": "31", "failed": "33", "running": "36"}
UP_AND_CLEAR = "\x1b[{lines}A\x1b[J"


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    status: str
    reason: str
    attempts: str
    answer: str
    due_in_seconds: float | None

    @property
    def news(self) -> tuple[str, ...]:
        """What makes a new line worth while: everything but the time that passes."""
        return (self.status, self.reason, self.attempts, self.answer)

    @property
    def next(self) -> str:
        """The time to the next attempt."""
        if self.due_in_seconds is None:
            return ""
        return f"{self.due_in_seconds:.1f} s" if self.due_in_seconds > 0 else "due"


class Table:
    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._started_at = time.monotonic()
        self._drawn_lines = 0
        self._shown: dict[str, tuple[str, ...]] = {}
        self._colours = out.isatty() and "NO_COLOR" not in os.environ

    def show(self, rows: list[Row]) -> None:
        # Cursor movements cannot reach lines that have left the window.
        if self._out.isatty() and shutil.get_terminal_size().lines > len(rows) + 3:
            self._redraw(rows)
        else:
            self._append(rows)
        self._out.flush()

    def _redraw(self, rows: list[Row]) -> None:
        width = shutil.get_terminal_size().columns - 1
        lines = [_columns(HEADINGS, "NEXT", width)]
        for row in rows:
            line = _columns((row.title, row.status + row.reason, row.attempts, row.answer), row.next, width)
            lines.append(self._coloured(line, row.status))
        if self._drawn_lines:
            self._out.write(UP_AND_CLEAR.format(lines=self._drawn_lines))
        self._out.write("".join(f"{line}\n" for line in lines))
        self._drawn_lines = len(lines)

    def _append(self, rows: list[Row]) -> None:
        if not self._shown:
            self._out.write(f"{'TIME':>8} {_columns(HEADINGS, 'NEXT', 120)}\n")
        for row in rows:
            if self._shown.get(row.title) != row.news:
                self._shown[row.title] = row.news
                elapsed = f"{time.monotonic() - self._started_at:6.1f} s"
                cells = (row.title, row.status + row.reason, row.attempts, row.answer)
                self._out.write(f"{elapsed} {_columns(cells, row.next, 120)}\n")

    def _coloured(self, line: str, status: str) -> str:
        colour = COLOURS.get(status)
        return line if colour is None or not self._colours else f"\x1b[{colour}m{line}\x1b[0m"


def _columns(cells: tuple[str, ...], rest: str, width: int) -> str:
    columns = "  ".join(f"{cell:<{size}}" for cell, size in zip(cells, WIDTHS, strict=True))
    return f" {columns}  {rest}".rstrip()[:width]
