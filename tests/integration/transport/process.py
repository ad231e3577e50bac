"""``python -m tests.integration.transport.process URL…``: one request each, all at once, in a process of its own.

Prints what became of them, and by how much the process's memory grew over that of one request.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from tests.integration.transport.sending import PATIENCE_SECONDS, new_engine, outgoing


def _peak_bytes() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def main(urls: list[str]) -> None:
    engine = new_engine()
    engine.submit(outgoing(urls[0])).result(PATIENCE_SECONDS)
    before = _peak_bytes()
    futures = [engine.submit(outgoing(url)) for url in urls]
    exchanges = [future.result(PATIENCE_SECONDS) for future in futures]
    growth = _peak_bytes() - before
    engine.stop()
    report = {
        "statuses": [exchange.status for exchange in exchanges],
        "failures": [exchange.failure_detail for exchange in exchanges],
        "body_bytes": [len(exchange.body) for exchange in exchanges],
        "peak_growth_bytes": growth,
    }
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1:])
