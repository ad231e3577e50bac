"""How partners stand, as metrics: what waits and why, since when, what is in flight, who is held back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import datetime

from django.conf import settings
from django.db import connection
from django.db.models import Count, Min
from prometheus_client.core import GaugeMetricFamily

from notifier import clock
from notifier.backlog import counting
from notifier.bounded_labels import OTHER
from notifier.models import NotificationTask, Partner, PartnerState
from notifier.policy import flow
from notifier.policy.circuit import State

# The most that is counted of a partner by name, and of one of the others, of which so many are looked at.
NAMED_BOUND = 10_000
OTHERS_BOUND = 100
OTHERS = 400
SCHEDULED, READY = "scheduled", "ready"


def gauges() -> Iterator[GaugeMetricFamily]:
    """Index probes for each partner with work, counts up to a bound for some: the same cost however much waits."""
    now = clock.now()
    oldest = _oldest_waiting()
    by_age = sorted(oldest, key=lambda key: oldest[key])
    most = settings.NOTIFIER_METRICS_PARTNERS
    named, others = by_age[:most], by_age[most : most + OTHERS]
    running = _in_flight(now)
    partners = Partner.objects.select_related("state").in_bulk([*named, *others])
    names = {key: partners[key].partner_id for key in named if key in partners}
    yield _oldest_ages(oldest, names, now)
    yield _waiting(named, others, partners, names, running, now)
    in_flight = GaugeMetricFamily("notifier_in_flight", "Requests under a lease that holds", labels=["partner"])
    for label, count in _by_label(running, names).items():
        in_flight.add_metric([label], count)
    yield in_flight
    yield from _held_back(now, most)


def _oldest_waiting() -> dict[int, datetime]:
    """The earliest due time of each partner that has any: a loose index scan, as the sweep's."""
    groups = NotificationTask.objects.order_by().values_list("partner", "rank").annotate(Min("next_attempt_at"))
    found: dict[int, datetime] = {}
    for key, _, due_at in groups:
        if due_at is not None:
            found[key] = min(due_at, found.get(key, due_at))
    return found


def _in_flight(now: datetime) -> dict[int, int]:
    running = NotificationTask.objects.filter(lease_expires_at__gt=now).order_by()
    return dict(running.values_list("partner").annotate(Count("pk")))


def _by_label(counts: dict[int, int], names: dict[int, str]) -> Counter[str]:
    found: Counter[str] = Counter({OTHER: 0})
    for key, count in counts.items():
        found[names.get(key, OTHER)] += count
    return found


def _oldest_ages(oldest: dict[int, datetime], names: dict[int, str], now: datetime) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "notifier_oldest_due_age_seconds", "Since when the longest due notification is due", labels=["partner"]
    )
    ages: dict[str, float] = {OTHER: 0.0}
    for key, due_at in oldest.items():
        label = names.get(key, OTHER)
        ages[label] = max(ages.get(label, 0.0), (now - due_at).total_seconds())
    for label, age in ages.items():
        family.add_metric([label], max(0.0, age))
    return family


def _waiting(
    named: list[int],
    others: list[int],
    partners: dict[int, Partner],
    names: dict[int, str],
    running: dict[int, int],
    now: datetime,
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "notifier_waiting", "Notifications that wait, by what for; counted up to a bound", labels=["partner", "reason"]
    )
    found: Counter[tuple[str, str]] = Counter({(OTHER, READY): 0})
    for keys, bound in ((named, NAMED_BOUND), (others, OTHERS_BOUND)):
        for key, waiting, due in _counts([key for key in keys if key in partners], bound, now):
            label = names.get(key, OTHER)
            found[label, _reason(partners[key], running.get(key, 0), now)] += due
            if waiting > due:
                found[label, SCHEDULED] += waiting - due
    for (label, reason), count in found.items():
        family.add_metric([label, reason], count)
    return family


def _counts(keys: Collection[int], bound: int, now: datetime) -> list[tuple[int, int, int]]:
    if not keys:
        return []
    sql, parameters = counting(list(keys), now=now, bound=bound)
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return [(key, waiting, due) for key, waiting, due, _ in cursor.fetchall()]


def _reason(partner: Partner, in_flight: int, now: datetime) -> str:
    """What the partner's next due notification waits for: what a claim would say now."""
    state = partner.state.flow(enabled=partner.enabled)
    permit = flow.permit(state, partner.limits, in_flight=in_flight, slots=1, now=now)
    return READY if permit.wait is None else permit.wait.value


def _held_back(now: datetime, most: int) -> Iterator[GaugeMetricFamily]:
    states = PartnerState.objects.exclude(circuit_state=State.CLOSED).order_by("circuit_since")
    turned = list(states.values_list("partner__partner_id", "circuit_state")[: most + OTHERS])
    circuits = GaugeMetricFamily("notifier_circuits", "Partners whose circuit is not closed", labels=["state"])
    counts = Counter(state for _, state in turned)
    for state in (State.OPEN.value, State.HALF_OPEN.value):
        circuits.add_metric([state], counts[state])
    yield circuits
    by_partner = GaugeMetricFamily(
        "notifier_circuit_open", "1 for a partner whose circuit is not closed; the others' number", labels=["partner"]
    )
    for partner_id, _ in turned[:most]:
        by_partner.add_metric([partner_id], 1)
    by_partner.add_metric([OTHER], max(0, len(turned) - most))
    yield by_partner
    held = PartnerState.objects.filter(hold_until__gt=now).count()
    paused = PartnerState.objects.filter(paused_at__isnull=False).count()
    yield GaugeMetricFamily("notifier_partners_held", "Partners that asked for time (Retry-After)", value=held)
    yield GaugeMetricFamily("notifier_partners_paused", "Partners that an operator paused", value=paused)
