"""What waits to be begun: each sender's requests in their order, the senders in turns."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Who puts in one does not wait for the hundreds of others. Safe for threads.

    Round robin (Nagle, RFC 970, section 5), in which a sender that had nothing here begins before those that had
    (RFC 8290, section 4.2: new and old queues).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        # In the order of their turns. An old line may be empty: whoever comes again at once is not new again.
        self._new: dict[str, deque[T]] = {}
        self._old: dict[str, deque[T]] = {}

    def put(self, sender: str, item: T) -> None:
        with self._lock:
            self._count += 1
            line = self._old.get(sender)
            if line is None:
                line = self._new.setdefault(sender, deque())
            line.append(item)

    def get(self) -> T | None:
        """The next one; None where there is none."""
        with self._lock:
            while lines := self._new or self._old:
                sender = next(iter(lines))
                line = lines.pop(sender)
                if line:
                    self._count -= 1
                    item = line.popleft()
                    self._old[sender] = line  # behind the others
                    return item
            return None

    def __bool__(self) -> bool:
        return self._count > 0
