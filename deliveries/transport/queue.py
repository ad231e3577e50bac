"""What waits to be begun: each sender's requests in their order, the senders in turns."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Round robin (Nagle, RFC 970, section 5): who puts in one waits for one of each other, not for their hundreds.

    Safe for threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # In the order of their turns; none is empty.
        self._lines: dict[str, deque[T]] = {}

    def put(self, sender: str, item: T) -> None:
        with self._lock:
            self._lines.setdefault(sender, deque()).append(item)

    def get(self) -> T | None:
        """The next one; None where there is none."""
        with self._lock:
            if not self._lines:
                return None
            sender = next(iter(self._lines))
            line = self._lines.pop(sender)
            item = line.popleft()
            if line:
                self._lines[sender] = line  # behind the others
            return item

    def __bool__(self) -> bool:
        return bool(self._lines)
