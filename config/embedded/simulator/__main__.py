"""The simulated partner as a process of its own, with a ledger of what it saw where a file is named."""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from config.embedded.simulator import SeenRequest, Simulator
from config.limits import allow_many_files


def ledger(file: BinaryIO) -> Callable[[SeenRequest], None]:
    """Writes one JSON line a request to an unbuffered file: it is there before the partner's answer is."""

    def write(seen: SeenRequest) -> None:
        line = {
            "at": seen.at,
            "method": seen.method,
            "path": seen.path,
            "headers": seen.headers,
            "body": base64.b64encode(seen.body).decode(),
            "answered": seen.answered,
        }
        file.write(json.dumps(line).encode() + b"\n")

    return write


async def serve(host: str, port: int, on_request: Callable[[SeenRequest], None] | None) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    simulator = Simulator(on_request)
    port = await simulator.start(host, port)
    print(f"The partner simulator listens on http://{host}:{port}/", flush=True)
    await ended.wait()
    await simulator.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m config.embedded.simulator", description="A simulated partner.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one and prints it")
    parser.add_argument("--log", type=Path, metavar="FILE.jsonl", help="append a line for each request")
    options = parser.parse_args()
    allow_many_files()
    try:
        if options.log is None:
            asyncio.run(serve(options.host, options.port, None))
        else:
            with options.log.open("ab", buffering=0) as file:
                asyncio.run(serve(options.host, options.port, ledger(file)))
    except OSError as error:
        sys.exit(f"The simulator cannot start: {error}")


if __name__ == "__main__":
    main()
