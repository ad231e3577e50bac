"""``python -m tests.integration.transport.out_of_files``: a request while the process can open no file, and two others."""

from __future__ import annotations

import os
import resource
import sys

from notifier.policy.exchange import Exchange
from tests.integration.transport.sending import Sender, new_engine
from tests.support.raw_server import OK, RawServer, answering


def _report(exchange: Exchange) -> None:
    sys.stdout.write(f"{exchange.status} {exchange.failure_detail or None}\n")


def _take_all_files() -> list[int]:
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    taken = []
    while True:
        try:
            taken.append(os.dup(0))
        except OSError:
            return taken


def main() -> None:
    engine = new_engine()
    sender = Sender(engine)
    with RawServer(answering(OK)) as partner, RawServer(answering(OK)) as another:
        _report(sender.send(partner.url()))
        taken = _take_all_files()
        _report(sender.send(another.url(), total=1.0))
        for descriptor in taken:
            os.close(descriptor)
        _report(sender.send(another.url()))
    engine.stop()


if __name__ == "__main__":
    main()
