"""The measurements of ``benchmarks.scale``, in a process of their own: the settings lead to its servers."""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta

import django

django.setup()

from django.db import connection, models

from benchmarks.scale import DATABASES
from benchmarks.scale_fill import fill
from deliveries import prune, sweeper
from notifier import api_keys, clock, intake, lifecycle, partner_flow
from notifier.models import AttemptStatus, NotificationTask, Partner, PartnerState
from notifier.models.task import Outcome
from notifier.policy import destination
from notifier.policy.retry import Succeeded
from notifier.transactions import atomically, conflicts
from tests.support.api import Caller, document
from tests.support.factories import ALL_SCOPES, URL, make_partner
from tests.support.threads import Other, at_once

PARTNERS = 21  # the first one is dead: half of what waits is its
SMALL_ROWS = 500
CLAIM_EACH = 5
ROUNDS = 41
INDEX_ROUNDS = 15
LIFE_ROWS = 400
DRAINERS = 8
DRAIN_EACH = 20
# What was weighed and not taken.
OTHER_INDEXES = [models.Index(name="task_partner_dead", fields=("partner", "dead_reason", "task_id"))]
LEASE = timedelta(seconds=60)
KEY = "ntf_" + "x" * 43
# Pages of so many rows as the small table has of them, too: a row's JSON costs more than finding it.
LISTS = {
    "all": "limit=50",
    "a partner's": "limit=20&partner_id=partner-3",
    "the dead partner's": "limit=50&partner_id=partner-0",
    "a status": "limit=50&status=succeeded",
    "a status that none has": "limit=50&status=failed",
    "a reason": "limit=20&dead_reason=exhausted",
    "a partner's of a reason": "limit=1&partner_id=partner-3&dead_reason=exhausted",
    "a partner's of a status": "limit=10&partner_id=partner-3&status=succeeded",
    "the dead partner's of a status": "limit=10&partner_id=partner-0&status=succeeded",
    "a partner's dead": "limit=1&partner_id=partner-3&status=dead",
    "a status a partner has none of": "limit=50&partner_id=partner-3&status=failed",
}

# Runs once and returns its milliseconds.
Case = Callable[[], float]


def sizes(rows: int) -> None:
    """Medians of alternating rounds, small against large."""
    for database, size in zip(DATABASES, (SMALL_ROWS, rows), strict=True):
        _use(database)
        _prepare(size)
    cases = _cases()
    taken: dict[str, dict[str, list[float]]] = {name: {database: [] for database in DATABASES} for name in cases}
    for database in DATABASES:
        _use(database)
        for run in cases.values():
            run()  # warm
    for _ in range(ROUNDS):
        for name, run in cases.items():
            for database in DATABASES:
                _use(database)
                taken[name][database].append(run())
    print(f"medians of {ROUNDS} rounds, in ms; {2 * SMALL_ROWS:,} rows against {2 * rows:,}")
    print(f"{'':38}{'small':>10}{'large':>10}{'ratio':>8}")
    for name, by_database in taken.items():
        small, large = (statistics.median(by_database[database]) for database in DATABASES)
        print(f"{name:38}{small:>10.2f}{large:>10.2f}{large / small:>8.2f}", flush=True)


def sweep(partners: int) -> None:
    """A sweep where half of so many partners have waiting rows, half of those none that is due; all have finished ones."""
    _use("small")
    keys = _many_partners(partners)
    waiting = keys[::2]
    fill(waiting, waiting=20 * partners, finished=0)
    fill(keys, waiting=0, finished=20 * partners)
    with connection.cursor() as cursor:
        # Two priorities, and every other of those that wait has nothing due.
        cursor.execute("UPDATE notifier_notificationtask SET `rank` = 4 + id % 2")
        later = NotificationTask.objects.filter(partner__in=waiting[1::2], next_attempt_at__isnull=False)
        later.update(next_attempt_at=clock.read() + timedelta(days=1))
        cursor.execute("ANALYZE TABLE notifier_notificationtask")
        cursor.fetchall()
    due = {partner.partner_id for partner in waiting[::2]}
    taken = [_sweep(due) for _ in range(ROUNDS)]
    print(
        f"sweep of {partners:,} partners, {len(due):,} of them due: median {statistics.median(taken):.1f} ms, worst {max(taken):.1f} ms"
    )


def _many_partners(count: int) -> list[Partner]:
    make_partner(partner_id="first")
    Partner.objects.bulk_create([Partner(partner_id=f"p-{number}", allow_hosts=[]) for number in range(count)])
    partners = list(Partner.objects.exclude(partner_id="first").order_by("pk"))
    PartnerState.objects.bulk_create([PartnerState(partner=partner) for partner in partners])
    return partners


def drain(rows: int) -> None:
    """Eight threads claim and record everything there is, one prunes behind them; counted are the server's deadlocks."""
    _use("large")
    _prepare(rows)
    PartnerState.objects.update(circuit_state="closed", circuit_since=None)
    NotificationTask.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=clock.read())
    before, conflicts_before = _deadlocks(), _conflicts()
    begun, over = time.monotonic(), threading.Event()
    janitor = Other(lambda: _prune_until(over))
    counts = at_once(DRAINERS, _drain, seconds=600)
    over.set()
    pruned = janitor.ended()
    seconds = time.monotonic() - begun
    left = NotificationTask.objects.filter(outcome__isnull=True).count()
    print(
        f"{sum(counts):,} rows claimed and recorded by {DRAINERS} at once in {seconds:.0f} s ({min(counts):,} to "
        f"{max(counts):,} each), {pruned:,} pruned meanwhile, {left} left"
    )
    print(f"drain: deadlocks={_deadlocks() - before} retried={_conflicts() - conflicts_before:.0f}")
    if left or _deadlocks() != before:
        raise SystemExit(1)


def _drain(number: int) -> int:
    """Claims of several partners, and records of what they gave, until nothing is left; returns how many rows."""
    _use("large")
    keys = list(Partner.objects.order_by("pk").values_list("pk", flat=True))
    # Each begins with another partner, and all meet all.
    keys = keys[number:] + keys[:number]
    done = 0
    while NotificationTask.objects.filter(outcome__isnull=True).exists():
        claims = atomically(lambda: _claim_of(keys, DRAIN_EACH))
        done += atomically(lambda claims=claims: _record(claims)) if claims else 0  # type: ignore[misc]
    return done


def _prune_until(over: threading.Event) -> int:
    _use("large")
    deleted = 0
    while not over.is_set():
        deleted += atomically(_prune_batch).tasks
    return deleted


def _prune_batch() -> lifecycle.Pruned:
    return lifecycle.prune(Outcome.SUCCEEDED, ended_before=clock.read(), limit=prune.BATCH)


def _deadlocks() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
        return int(cursor.fetchone()[1])


def _conflicts() -> float:
    return sum(
        sample.value for metric in conflicts.collect() for sample in metric.samples if sample.name.endswith("total")
    )


def indexes(rows: int) -> None:
    """What each index of the tasks costs: milliseconds to insert, claim and record 400 rows, with it and without it."""
    _use("large")
    _prepare(rows)
    print(
        f"{'medians of ' + str(INDEX_ROUNDS) + ' rounds, in ms':34}{'insert':>10}{'claim':>10}{'record':>10}{'all':>10}"
    )
    _show("as it is")
    for index in [*NotificationTask._meta.indexes, *OTHER_INDEXES]:
        there = index not in OTHER_INDEXES
        change = ("remove_index", "add_index") if there else ("add_index", "remove_index")
        with connection.schema_editor() as editor:
            getattr(editor, change[0])(NotificationTask, index)
        _show(f"{'without' if there else 'with'} {index.name}")
        with connection.schema_editor() as editor:
            getattr(editor, change[1])(NotificationTask, index)
    _show("as it is, again")


def _show(name: str) -> None:
    rounds = [_life() for _ in range(INDEX_ROUNDS + 2)][2:]
    medians = [statistics.median(figures) for figures in zip(*rounds, strict=True)]
    print(f"{name:34}" + "".join(f"{figure:>10.1f}" for figure in [*medians, sum(medians)]), flush=True)


def _life() -> tuple[float, float, float]:
    """Of 400 rows: accepted, claimed and delivered, in a transaction each."""
    partners = list(Partner.objects.order_by("pk"))[1:]
    now, claims = clock.read(), list[lifecycle.Claim]()
    each = LIFE_ROWS // len(partners)
    tasks = [
        NotificationTask(
            task_id=intake.task_id_at(now), partner=partner, target_url=URL, http_method="POST", body=b"x" * 256,
            body_format="body_text", idempotency_key=f"{time.monotonic_ns()}", fingerprint="0" * 64, rank=0,
            next_attempt_at=now, expires_at=now + timedelta(days=3), max_attempts=10, created_at=now, updated_at=now,
        )
        for partner in partners * each
    ]  # fmt: skip

    keys = [partner.pk for partner in partners]
    insert = _timed(lambda: NotificationTask.objects.bulk_create(tasks))
    claim = _timed(lambda: claims.extend(atomically(lambda: _claim_of(keys, each))))
    assert len(claims) == LIFE_ROWS
    return insert, claim, _timed(lambda: atomically(lambda: _record(claims)))


def _claim_of(keys: Collection[int], each: int) -> list[lifecycle.Claim]:
    """So many of each partner that nobody else holds."""
    held, _ = partner_flow.lock(keys)
    return lifecycle.claim(dict.fromkeys(held, each), now=clock.read(), lease_for=LEASE)


def _record(claims: Sequence[lifecycle.Claim]) -> int:
    results = [
        lifecycle.Result(
            task_key=claim.id, attempt_no=claim.attempt_count, lease_token=claim.lease_token, decision=Succeeded(),
            attempt_status=AttemptStatus.SUCCEEDED, http_status_code=200, response_body="ok",
        )
        for claim in claims
    ]  # fmt: skip
    moved = len(lifecycle.record(results, now=clock.read()))
    assert moved == len(claims)
    return moved


def _use(database: str) -> None:
    """Another database is one statement away, not a connection."""
    with connection.cursor() as cursor:
        cursor.execute(f"USE {database}")


def _prepare(size: int) -> None:
    partners = [make_partner(partner_id=f"partner-{number}", max_age_hours=8760) for number in range(PARTNERS)]
    PartnerState.objects.filter(pk=partners[0].pk).update(circuit_state="open", circuit_since=clock.read())
    begun = time.monotonic()
    fill(partners, waiting=size, finished=size)
    print(f"filled with {2 * size:,} rows in {time.monotonic() - begun:.0f} s", flush=True)


def _cases() -> dict[str, Case]:
    for database in DATABASES:
        _use(database)
        api_keys.create(name="benchmark", scopes=ALL_SCOPES, plain=KEY)
    reader = Caller(KEY)
    alive = {f"partner-{number}" for number in range(1, PARTNERS)}
    return {"claim of 100": _claim, "sweep": lambda: _sweep(alive), "accept": _accept, "prune of nothing": _prune} | {
        f"list: {name}": _listing(reader, query) for name, query in LISTS.items()
    }


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000


def _claim() -> float:
    keys = list(Partner.objects.order_by("pk").values_list("pk", flat=True)[1:])
    claims: list[lifecycle.Claim] = []

    taken = _timed(lambda: claims.extend(atomically(lambda: _claim_of(keys, CLAIM_EACH))))
    assert len(claims) == CLAIM_EACH * len(keys), len(claims)
    assert lifecycle.give_back(claims, now=clock.read()) == len(claims)
    return taken


def _sweep(due: Collection[str]) -> float:
    swept: list[sweeper.Swept | None] = []
    taken = _timed(lambda: swept.append(sweeper.sweep(by_beat=True, unless_within=timedelta(0))))
    assert swept[0] is not None
    assert set(swept[0].due) == due
    return taken


def _accept() -> float:
    target = destination.target(URL)
    wanted = intake.Notification(
        partner_id="partner-1", target=target, body=b"x" * 256, idempotency_key=f"accept-{time.monotonic_ns()}"
    )
    return _timed(lambda: intake.accept(wanted, key=None))


def _prune() -> float:
    def prune_all() -> None:
        assert list(prune.prune()) == []

    return _timed(prune_all)


def _listing(reader: Caller, query: str) -> Case:
    def page() -> float:
        return _timed(lambda: document(reader.get(f"/v1/notify?{query}")))

    return page


if __name__ == "__main__":
    globals()[sys.argv[1]](*(int(argument) for argument in sys.argv[2:]))
