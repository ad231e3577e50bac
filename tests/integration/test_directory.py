"""The short-lived copy of partners."""

from __future__ import annotations

from typing import Any

import pytest

from notifier.models import Partner
from notifier.partners import Directory
from tests.support.factories import make_partner
from tests.support.ticks import Ticks

pytestmark = pytest.mark.django_db


def test_those_in_use_are_read_again_in_one_query(django_assert_num_queries: Any) -> None:
    names = [make_partner().partner_id for _ in range(3)]
    ticks = Ticks()
    directory = Directory(max_age_seconds=1.0, ticks=ticks)
    for name in names:
        directory.by_id([name])
        ticks.now += 0.1
    for name in names:
        directory.by_id([name])
    ticks.now += 0.75  # the first is too old, the others soon

    with django_assert_num_queries(1):
        found = [directory.by_id([name]) for name in names]

    assert [list(each) for each in found] == [[name] for name in names]


def test_a_change_takes_effect_within_its_time() -> None:
    name = make_partner().partner_id
    ticks = Ticks()
    directory = Directory(max_age_seconds=1.0, ticks=ticks)
    directory.by_id([name])
    Partner.objects.update(name="Acme the Second")
    ticks.now += 1.001

    assert directory.by_id([name])[name].name == "Acme the Second"


def test_a_partner_that_does_not_exist_is_not_found() -> None:
    assert Directory().by_id(["nobody"]) == {}
