"""How other threads tell one that waits for sockets that there is something to do."""

from __future__ import annotations

import os
import threading


class Doorbell:
    """A pipe among the sockets. Rings that come before it is answered are one byte, one system call: a claim rings hundreds of times."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._lock = threading.Lock()
        self._rung = self._closed = False

    def fileno(self) -> int:
        return self._reader

    def ring(self) -> None:
        """Say what there is to do before, and ring then. From any thread; of one that was closed nothing comes."""
        if self._rung:
            return  # whoever answers it has not looked yet
        with self._lock:
            if not (self._rung or self._closed):
                self._rung = True
                os.write(self._writer, b"\0")

    def answer(self) -> None:
        """Look at what there is to do after this."""
        os.read(self._reader, 1)
        self._rung = False

    def close(self) -> None:
        with self._lock:
            self._closed = True
            os.close(self._reader)
            os.close(self._writer)
