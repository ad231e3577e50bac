"""A DNS server on loopback whose answers change from one question to the next, and a resolver that asks it over UDP."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from types import TracebackType
from typing import Self

_A, _AAAA = 1, 28


class RebindingServer:
    """Answers the n-th lookup of a name with the n-th of its lists of addresses; the last one is repeated (TTL 0)."""

    def __init__(self, answers: dict[str, Sequence[Sequence[str]]]) -> None:
        self._answers = answers
        self._lookups: dict[str, Iterator[int]] = {name: itertools.count() for name in answers}
        self._current: dict[str, Sequence[str]] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, name="rebinding server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(5)
        self._socket.close()

    def look_up(self, host: str) -> tuple[str, ...]:
        """What a resolver without a cache does: ask for A and for AAAA."""
        return tuple(address for kind in (_A, _AAAA) for address in self._ask(host, kind))

    def _ask(self, host: str, kind: int) -> list[str]:
        name = b"".join(bytes([len(label)]) + label.encode() for label in host.split(".")) + b"\0"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(5)
            asking.sendto(
                struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + name + struct.pack("!2H", kind, 1), ("127.0.0.1", self.port)
            )
            answer = asking.recv(4096)
        count = struct.unpack("!6H", answer[:12])[3]
        at, found = 12 + len(name) + 4, []
        for _ in range(count):
            length = struct.unpack("!H", answer[at + 10 : at + 12])[0]
            found.append(str(ip_address(answer[at + 12 : at + 12 + length])))
            at += 12 + length
        return found

    def _serve(self) -> None:
        while True:
            question, asker = self._socket.recvfrom(4096)
            if not question:
                return
            end = question.index(b"\0", 12) + 1
            labels, at = [], 12
            while question[at]:
                labels.append(question[at + 1 : at + 1 + question[at]].decode())
                at += 1 + question[at]
            kind = struct.unpack("!H", question[end : end + 2])[0]
            records = b"".join(
                b"\xc0\x0c" + struct.pack("!2HIH", kind, 1, 0, len(packed)) + packed
                for packed in self._packed(".".join(labels), kind)
            )
            count = len(self._packed(".".join(labels), kind, again=True))
            header = question[:2] + struct.pack("!5H", 0x8180, 1, count, 0, 0)
            self._socket.sendto(header + question[12 : end + 4] + records, asker)

    def _packed(self, name: str, kind: int, *, again: bool = False) -> list[bytes]:
        """A lookup begins with the question for A; the one for AAAA belongs to it."""
        if kind == _A and not again and name in self._answers:
            lists = self._answers[name]
            self._current[name] = lists[min(next(self._lookups[name]), len(lists) - 1)]
        addresses = [ip_address(text) for text in self._current.get(name, ())]
        return [address.packed for address in addresses if address.version == (4 if kind == _A else 6)]
