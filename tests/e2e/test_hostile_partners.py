"""Partners that answer what would fill a worker's memory or hold it up, in front of a real worker."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import scenarios
from tests.e2e.conftest import QUICK
from tests.integration.transport.certificates import Authority
from tests.support.ledger import PartnerSimulator
from tests.support.raw_server import Connection, RawServer
from tests.support.system import FullSystem

GIGABYTE = 1 << 30
HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[FullSystem]:
    folder = tmp_path_factory.mktemp("system")
    running = FullSystem(folder, os.environ["DATABASE_URL"], **QUICK, NOTIFIER_CA_FILE=authority.file)
    try:
        running.start_all()
        running.apply_partners(hostile=scenarios.PARTNER, good=scenarios.PARTNER)
        yield running
    finally:
        running.stop()


def _peak_bytes(system: FullSystem) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{system.worker().pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


async def _gigabyte(connection: Connection) -> None:
    """By its length or in chunks; never ends of itself."""
    received = await connection.request()
    if b"/chunked" in received.line:
        await connection.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            await connection.send(b"100000\r\n" + bytes(0x100000) + b"\r\n")
    await connection.send(HEAD + b"Content-Length: %d\r\n\r\n" % GIGABYTE)
    for _ in range(GIGABYTE >> 20):
        await connection.send(bytes(1 << 20))


async def _ten_thousand_headers(connection: Connection) -> None:
    await connection.request()
    lines = b"".join(b"X-%d: x\r\n" % number for number in range(10_000))
    await connection.send(HEAD + lines + b"Content-Length: 0\r\n\r\n")


def test_each_ends_as_documented_and_the_worker_goes_on_in_bounded_memory(
    system: FullSystem, partner: PartnerSimulator, authority: Authority
) -> None:
    scenarios.ended(
        system.client,
        [system.client.notify(partner_id="good", target_url=partner.url("/ok")) for _ in range(100)],
        seconds=20,
    )
    before = _peak_bytes(system)
    with (
        RawServer(_gigabyte) as gigabyte,
        RawServer(_ten_thousand_headers) as headers,
        RawServer(_gigabyte, tls=authority.server(expired=True)) as expired,
    ):
        # URL: the attempt's status code and error_code.
        expected = {
            gigabyte.url("/length"): (200, None),
            gigabyte.url("/chunked"): (200, None),
            partner.url("/gzip-bomb"): (200, None),
            headers.url(): (None, "response_too_large"),
            expired.url(): (None, "tls_certificate"),
            "https://no-such-host.invalid/": (None, "dns_failure"),
        }
        ids = {
            url: [system.client.notify(partner_id="hostile", target_url=url, max_attempts=1) for _ in range(10)]
            for url in expected
        }
        good = [system.client.notify(partner_id="good", target_url=partner.url("/ok")) for _ in range(20)]

        delivered = scenarios.ended(system.client, good, seconds=10)
        ended = scenarios.ended(system.client, [task_id for same in ids.values() for task_id in same], seconds=30)

    assert {task["status"] for task in delivered.values()} == {"succeeded"}
    for url, (status, code) in expected.items():
        for task_id in ids[url]:
            (attempt,) = system.client.attempts(task_id)
            assert (attempt["http_status_code"], attempt["error_code"]) == (status, code), url
            assert ended[task_id]["status"] == ("succeeded" if status else "dead")
    # Sixty answers, forty of them of a gigabyte or without an end; of each 64 KiB are read.
    assert _peak_bytes(system) - before < 30_000_000
    assert system.worker().poll() is None
