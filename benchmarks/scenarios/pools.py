"""The recipe's worker pools, and the comparison that chose between them."""

from __future__ import annotations

# Chosen by `python -m benchmarks pools`, for partners that answer at once and for those that take 300 ms.
PROMPT = ("prefork", 4)
SLOW = ("threads", 64)
