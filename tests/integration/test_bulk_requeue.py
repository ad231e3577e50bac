"""Bulk requeues: counted, paced, durable, stopped, audited; from the API and by the sweep."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError

from deliveries import sweeper
from notifier import audit, bulk_requeue, clock
from notifier.models import AuditEntry, BulkRequeue, NotificationTask, Partner, Scope, Status
from notifier.models.task import DeadReason
from notifier.selectors import TaskFilter
from tests.support.api import caller, problem
from tests.support.factories import make_partner, make_task
from tests.unit.cases import case

pytestmark = pytest.mark.django_db

ADDRESS = "/v1/notify/requeue"
BY = audit.Actor(kind="user", name="root", origin="198.51.100.7")


def _dead(count: int, partner: Partner | None = None, **fields: Any) -> list[NotificationTask]:
    return [make_task(partner, status=Status.DEAD, **fields) for _ in range(count)]


def _states() -> list[str]:
    return list(NotificationTask.objects.order_by("pk").values_list("status", flat=True))


def _begin(wanted: TaskFilter, per_second: int | None = None) -> BulkRequeue:
    return bulk_requeue.begin(wanted, per_second=per_second, by=BY)


def _age(job: BulkRequeue, seconds: float) -> None:
    """As if its last step had been so long ago."""
    BulkRequeue.objects.filter(pk=job.pk).update(paced_until=clock.read() - timedelta(seconds=seconds))


def test_a_dry_run_counts_and_changes_nothing() -> None:
    partner = make_partner()
    _dead(3, partner), _dead(2), make_task(partner)
    before = _states()

    answer = caller().post(ADDRESS, {"filter": {"partner_id": partner.partner_id}, "dry_run": True})

    assert (answer.status_code, answer.json()) == (200, {"matched": 3, "requeued": 0})
    assert (_states(), BulkRequeue.objects.count(), AuditEntry.objects.count()) == (before, 0, 1)  # the key's own


def test_what_matches_is_requeued_and_its_partners_are_woken(woken: list[list[str]]) -> None:
    partner = make_partner()
    dead, other = _dead(3, partner, attempt_count=10), _dead(1)[0]
    alive = make_task(partner, status=Status.FAILED)

    answer = caller().post(ADDRESS, {"filter": {"partner_id": partner.partner_id}, "dry_run": False})

    assert (answer.status_code, answer.json()) == (200, {"matched": 3, "requeued": 3})
    assert set(
        NotificationTask.objects.filter(pk__in=[task.pk for task in dead]).values_list(
            "status", "attempts_before_requeue", "dead_reason"
        )
    ) == {("pending", 10, None)}
    assert list(
        NotificationTask.objects.filter(pk__in=[other.pk, alive.pk]).order_by("pk").values_list("status", flat=True)
    ) == ["dead", "failed"]
    assert woken == [[partner.partner_id]]
    assert list(
        AuditEntry.objects.filter(object_kind="bulk_requeue").order_by("pk").values_list("action", flat=True)
    ) == ["bulk_requeue.begin", "bulk_requeue.done"]


@pytest.mark.parametrize(
    ("narrow", "found"),
    [
        case({"dead_reason": "rejected"}, 1, id="reason"),
        case({"status": "dead"}, 3, id="status"),
        case({"metadata.order": "17"}, 1, id="label"),
        case({"created_before": "2026-01-01T00:00:00Z"}, 0, id="before"),
        case({"created_after": "2026-01-01T00:00:00Z"}, 3, id="after"),
    ],
)
def test_the_filter_is_the_lists(narrow: dict[str, str], found: int, woken: list[list[str]]) -> None:
    _dead(1, dead_reason=DeadReason.REJECTED), _dead(1, metadata={"order": "17"}), _dead(1), make_task()

    answer = caller().post(ADDRESS, {"filter": narrow, "dry_run": False})

    assert answer.json() == {"matched": found, "requeued": found}
    assert _states().count("dead") == 3 - found


@pytest.mark.parametrize(
    ("body", "field"),
    [
        case({}, "filter", id="none"),
        case({"dry_run": True}, "filter", id="no-filter"),
        case({"filter": {}}, "filter", id="empty"),
        case({"filter": []}, "filter", id="list"),
        case({"filter": {"status": "failed"}}, "filter.status", id="not-dead"),
        case({"filter": {"status": "gone"}}, "filter.status", id="no-status"),
        case({"filter": {"cursor": "x"}}, "filter.cursor", id="unknown-in-filter"),
        case({"filter": {"metadata.a": 1}}, "filter.metadata.a", id="label-type"),
        case({"filter": {"status": "dead"}, "dry_run": "yes"}, "dry_run", id="dry-run-type"),
        case({"filter": {"status": "dead"}, "per_second": 0}, "per_second", id="rate-0"),
        case({"filter": {"status": "dead"}, "per_second": 1001}, "per_second", id="rate-large"),
        case({"filter": {"status": "dead"}, "other": 1}, "other", id="unknown"),
    ],
)
def test_a_body_that_cannot_be_used_is_refused(body: dict[str, Any], field: str, woken: list[list[str]]) -> None:
    _dead(1)

    shown = problem(
        caller().post(ADDRESS, body),
        400,
        "unknown_field" if field in ("other", "filter.cursor") and body.get("filter") else "invalid_request",
    )

    assert field in [detail["field"] for detail in shown["details"]] or shown["details"][0]["field"].startswith(
        "filter"
    )
    assert (_states(), BulkRequeue.objects.count(), woken) == (["dead"], 0, [])


def test_only_a_key_that_operates_may_and_only_for_its_partners(woken: list[list[str]]) -> None:
    mine, other = make_partner(), make_partner()
    _dead(1, mine), _dead(1, other)
    narrow = {"filter": {"status": "dead"}, "dry_run": False}

    problem(caller(scopes=(Scope.WRITE.value, Scope.READ.value)).post(ADDRESS, narrow), 403, "missing_scope")
    bound = caller(partners=(mine.partner_id,))
    problem(bound.post(ADDRESS, {"filter": {"partner_id": other.partner_id}}), 403, "partner_not_permitted")
    assert _states() == ["dead", "dead"]

    assert bound.post(ADDRESS, narrow).json() == {"matched": 1, "requeued": 1}
    assert _states() == ["pending", "dead"]


def test_a_rate_is_kept_and_the_rest_follows_by_the_sweep(woken: list[list[str]]) -> None:
    partner = make_partner()
    _dead(17, partner)

    answer = caller().post(ADDRESS, {"filter": {"partner_id": partner.partner_id}, "dry_run": False, "per_second": 2})

    assert answer.json() == {"matched": 17, "requeued": 2}
    job = BulkRequeue.objects.get()
    assert bulk_requeue.advance_all().requeued == 0  # no second has passed
    _age(job, 1.0)
    swept = sweeper.sweep(by_beat=True)
    assert swept is not None
    assert partner.partner_id in swept.due
    job.refresh_from_db()
    assert (job.requeued, job.state) == (4, "running")
    _age(job, 3600)  # nobody swept for an hour: five seconds' worth and no more
    assert bulk_requeue.advance_all().requeued == 10
    job.refresh_from_db()
    assert (job.requeued, job.state) == (14, "running")
    _age(job, 5)
    assert bulk_requeue.advance_all().requeued == 3
    job.refresh_from_db()
    assert (job.requeued, job.state) == (17, "done")


def test_batches_go_on_where_the_last_one_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_requeue, "BATCH", 2)
    monkeypatch.setattr(bulk_requeue, "MOST_BATCHES", 2)
    _dead(9, make_partner())
    job = _begin(TaskFilter(status="dead"))

    steps = []
    while job.state == "running":
        steps.append(bulk_requeue.advance_all().requeued)
        job.refresh_from_db()

    assert (steps, job.requeued, job.matched) == ([4, 4, 1], 9, 9)
    assert _states() == ["pending"] * 9


def test_what_dies_after_the_start_is_left_alone() -> None:
    partner = make_partner()
    _dead(1, partner)
    job = _begin(TaskFilter(partner_id=partner.partner_id))
    late = _dead(1, partner, finished_at=clock.read() + timedelta(seconds=1))[0]

    bulk_requeue.advance_all()

    job.refresh_from_db()
    late.refresh_from_db()
    assert (job.requeued, job.state, late.status) == (1, "done", "dead")


def test_a_stopped_one_goes_no_further_and_stops_once() -> None:
    partner = make_partner()
    _dead(5, partner)
    job = _begin(TaskFilter(partner_id=partner.partner_id), per_second=2)
    _age(job, 1)
    bulk_requeue.advance_all()

    stopped = [bulk_requeue.stop(job, by=BY), bulk_requeue.stop(job, by=BY)]
    _age(job, 60)
    bulk_requeue.advance_all()

    job.refresh_from_db()
    assert (stopped, job.state, job.requeued, _states().count("pending")) == ([True, False], "stopped", 2, 2)
    entry = AuditEntry.objects.get(action="bulk_requeue.stop")
    assert (entry.actor, entry.object_id, entry.after) == ("root", str(job.pk), {"requeued": 2})


def test_a_crash_in_a_batch_leaves_neither_tasks_nor_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    _dead(3, make_partner())
    job = _begin(TaskFilter(status="dead"))
    with monkeypatch.context() as broken:
        broken.setattr(BulkRequeue, "save", _crash)
        with pytest.raises(DatabaseError):
            bulk_requeue.advance(job.pk)
    assert (_states(), BulkRequeue.objects.get().requeued) == (["dead"] * 3, 0)

    assert bulk_requeue.advance_all().requeued == 3


def test_one_that_cannot_go_on_is_stopped_with_the_reason_and_others_go_on() -> None:
    _dead(2, make_partner())
    broken, sound = _begin(TaskFilter(status="dead")), _begin(TaskFilter(status="dead"))
    BulkRequeue.objects.filter(pk=broken.pk).update(wanted={"no_such_field": 1})

    assert bulk_requeue.advance_all().requeued == 2

    broken.refresh_from_db()
    sound.refresh_from_db()
    assert (broken.state, broken.note, sound.state) == ("stopped", "it could not go on: TypeError", "done")


def test_without_a_filter_nothing_begins() -> None:
    with pytest.raises(bulk_requeue.NothingWanted):
        _begin(TaskFilter())
    assert BulkRequeue.objects.count() == 0


def _crash(*args: Any, **kwargs: Any) -> None:
    raise DatabaseError("the connection went away")
