"""Which loopback ports the run takes."""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from config.embedded.environment import Refused

HOST = "127.0.0.1"
HIGHEST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Ports:
    web: int
    flower: int
    simulator: int
    valkey: int
    worker_metrics: int
    beat_metrics: int


def choose(environment: Mapping[str, str]) -> Ports:
    """PORT for the web; beside it Flower and the simulator, so that they stay where they are from run to run.

    A neighbour that is taken is replaced by a free port. Raises ``Refused`` where PORT itself is taken or no port.
    """
    text = environment["PORT"]
    web = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not 1 <= web <= HIGHEST_PORT:
        raise Refused(f"PORT={text!r} is not a port; it must be a whole number between 1 and {HIGHEST_PORT}.")
    if not is_free(web):
        raise Refused(
            f"PORT={web} cannot be used: another program listens there, or it is reserved; choose another PORT."
        )
    flower = _near(web + 1, taken={web})
    simulator = _near(web + 2, taken={web, flower})
    taken = [web, flower, simulator]
    for near in (0, web + 3, web + 4):  # Valkey's stays unknown to others
        taken.append(_near(near, taken=taken))
    return Ports(*taken)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do: a port that only has connections of the last run in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return False
    return True


def _near(port: int, *, taken: Collection[int]) -> int:
    if 0 < port <= HIGHEST_PORT and port not in taken and is_free(port):
        return port
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            free = int(probe.getsockname()[1])
        if free not in taken:
            return free
