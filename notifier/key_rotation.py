"""Everything that is sealed in the database, sealed anew under the first key; in bounded batches, resumable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from notifier import sealing
from notifier.models import NotificationTask, Partner, PartnerSecret
from notifier.transactions import atomically

BATCH_ROWS = 200


@dataclass(frozen=True, slots=True)
class Progress:
    """What one batch did. ``last_key`` is where a later run may go on."""

    table: str
    last_key: int
    looked_at: int
    resealed: int
    # Keys of rows with something that none of the keys opens.
    broken: tuple[int, ...]


def rotate(*, after: Mapping[str, int] | None = None, batch_rows: int = BATCH_ROWS) -> Iterator[Progress]:
    """Seal anew what is not under the first key, table by table, each batch a short transaction of its own.

    What is under the first key already is left as it is, so a run that was ended goes on where it was, sooner with
    ``after``: the keys of the last rows that were looked at, by table. Rows that nobody can open are left, and named.
    """
    starts = after or {}
    for table in _TABLES:
        last = starts.get(table.name, 0)
        while (progress := _batch(table, last, batch_rows)) is not None:
            last = progress.last_key
            yield progress


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    rows: Callable[[], QuerySet[Any]]
    columns: tuple[str, ...]
    # The columns that are to be written, from a row.
    changed: Callable[[Any], dict[str, Any]]
    # Whether somebody else may write these columns at the same time.
    contended: bool


def _batch(table: _Table, after: int, rows: int) -> Progress | None:
    def work() -> Progress | None:
        batch = table.rows().filter(pk__gt=after).order_by("pk").only(*table.columns)[:rows]
        found = list(batch.select_for_update() if table.contended else batch)
        if not found:
            return None
        broken: list[int] = []
        resealed = 0
        for row in found:
            try:
                columns = table.changed(row)
            except sealing.SealBroken:
                broken.append(row.pk)
                continue
            if columns:
                # Without save(): nothing else of the row is ours to write.
                resealed += table.rows().filter(pk=row.pk).update(**columns)
        return Progress(table.name, found[-1].pk, len(found), resealed, tuple(broken))

    return atomically(work)


def _secret(row: PartnerSecret) -> dict[str, Any]:
    token = sealing.resealed(row.sealed.encode())
    return {} if token is None else {"sealed": token.decode()}


def _partner(row: Partner) -> dict[str, Any]:
    # A header may have become sensitive since.
    return _headers(row.headers, sealing.seal_headers(row.headers))


def _task(row: NotificationTask) -> dict[str, Any]:
    columns = _headers(row.headers, row.headers)
    if row.body_sealed and row.body is not None and (token := sealing.resealed(bytes(row.body))) is not None:
        columns["body"] = token
    return columns


def _headers(before: sealing.StoredHeaders, sealed: sealing.StoredHeaders) -> dict[str, Any]:
    after = {
        name: {"sealed": token.decode()}
        if isinstance(value, dict) and (token := sealing.resealed(value["sealed"].encode())) is not None
        else value
        for name, value in sealed.items()
    }
    return {} if after == before else {"headers": after}


_TABLES = (
    _Table("secrets", PartnerSecret.objects.all, ("sealed",), _secret, contended=True),
    _Table("partners", Partner.objects.all, ("headers",), _partner, contended=True),
    # A request never changes. Bodies are read one by one, where they are sealed: they may be large.
    _Table("notifications", NotificationTask.objects.all, ("headers", "body_sealed"), _task, contended=False),
)
TABLES = tuple(table.name for table in _TABLES)
