"""One process of the notifier's code on one database, asked over its standard input what a step costs there.

Each line is the name of a step and how often, the answer a JSON list of milliseconds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import django
from django.conf import settings
from django.db import transaction

from benchmarks.sides import PAYLOAD

CLAIMED_PARTNERS, CLAIMED_EACH = 20, 5
MOST_SECONDS = 3.0


def steps(key: str, url: str) -> dict[str, Callable[[], float]]:
    """What can be asked for; each returns the milliseconds that it took."""
    # Only now: Django is set up.
    from django.test import Client  # noqa: PLC0415

    from deliveries import sweeper  # noqa: PLC0415
    from notifier import clock, lifecycle, partner_flow  # noqa: PLC0415
    from notifier.models import Partner  # noqa: PLC0415

    partners = list(Partner.objects.order_by("partner_id").values_list("pk", flat=True)[1 : CLAIMED_PARTNERS + 1])
    client = Client(headers={"authorization": f"Bearer {key}"}, SERVER_NAME="127.0.0.1")

    def claim() -> float:
        with transaction.atomic():
            begun = time.perf_counter()
            now = clock.read()
            partner_flow.lock(partners)
            claims = lifecycle.claim(
                dict.fromkeys(partners, CLAIMED_EACH),
                now=now,
                lease_for=timedelta(seconds=settings.NOTIFIER_LEASE_SECONDS),
            )
            took = time.perf_counter() - begun
            transaction.set_rollback(True)
        expect(len(claims), CLAIMED_PARTNERS * CLAIMED_EACH)
        return took * 1000

    def sweep() -> float:
        begun = time.perf_counter()
        swept = sweeper.sweep(by_beat=True, unless_within=timedelta(0))
        took = time.perf_counter() - begun
        assert swept is not None
        expect(len(swept.due), 100)
        return took * 1000

    def accept() -> float:
        body = {"partner_id": "partner-00001", "target_url": url, "body_text": PAYLOAD}
        return timed(lambda: client.post("/v1/notify", body, content_type="application/json"), 202)

    def page() -> float:
        return timed(lambda: client.get("/v1/notify?limit=50"), 200)

    def page_filtered() -> float:
        return timed(lambda: client.get("/v1/notify?limit=50&partner_id=partner-00001&status=pending"), 200)

    return {"claim": claim, "sweep": sweep, "accept": accept, "page": page, "page_filtered": page_filtered}


def repeated(step: Callable[[], float], times: int) -> Iterator[float]:
    """So often, or until it has taken long enough to be sure that it is slow."""
    give_up = time.monotonic() + MOST_SECONDS
    for _ in range(times):
        yield step()
        if time.monotonic() > give_up:
            return


def timed(ask: Callable[[], Any], status: int) -> float:
    begun = time.perf_counter()
    answer = ask()
    took = time.perf_counter() - begun
    expect(answer.status_code, status)
    return took * 1000


def expect(found: int, wanted: int) -> None:
    if found != wanted:
        raise SystemExit(f"expected {wanted}, found {found}: the benchmark's rows are not as they should be")


def main() -> None:
    key, url = sys.argv[1:]
    django.setup()
    known = steps(key, url)
    print("ready", flush=True)
    for line in sys.stdin:
        name, times = line.split()
        print(json.dumps(list(repeated(known[name], int(times)))), flush=True)


if __name__ == "__main__":
    main()
