"""A key's life: expiry, rotation with overlap, revocation, and who owns what it made."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from notifier import api_keys, audit, clock
from notifier.audit import by_command
from notifier.models import ApiKey, Scope
from tests.support.api import Caller, document, notification, problem
from tests.support.factories import ALL_SCOPES, make_api_key, make_partner
from tests.support.staff import superuser

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def _works(plain: str) -> bool:
    return Caller(plain).get("/v1/notify").status_code == 200


def _age(key: ApiKey, by: timedelta) -> None:
    """Let the key's times be so much longer ago."""
    key.refresh_from_db()
    assert key.expires_at is not None
    api_keys.change(key, by=audit.by_command(), expires_at=key.expires_at - by)


def _rotate(*arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("rotate_api_key", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_an_expired_key_is_refused_from_that_moment_on() -> None:
    key, plain = api_keys.create(name="a", scopes=ALL_SCOPES, expires_at=clock.now() + HOUR)
    assert _works(plain)

    _age(key, HOUR)

    problem(Caller(plain).get("/v1/notify"), 401, "invalid_api_key")


def test_a_copy_of_a_key_knows_by_itself_when_it_ends() -> None:
    """What a cache has to ask at each use."""
    key, now = make_api_key()[0], clock.now()
    assert key.usable(now)

    key.expires_at = now
    assert (key.usable(now - timedelta(microseconds=1)), key.usable(now)) == (True, False)
    key.expires_at, key.revoked_at = None, now
    assert not key.usable(now)


def test_a_key_has_256_random_bits_and_the_database_only_their_hash() -> None:
    keys = [make_api_key() for _ in range(20)]

    assert len({plain for _, plain in keys}) == 20
    for key, plain in keys:
        assert re.fullmatch(r"ntf_[A-Za-z0-9_-]{43}", plain)  # 43 × 6 bits hold 256
        row = str(ApiKey.objects.filter(pk=key.pk).values().get())
        assert plain[api_keys.PREFIX_LENGTH :] not in row


def test_rotation_gives_a_key_with_the_same_rights_and_both_work_during_the_overlap() -> None:
    partner = make_partner()
    key, old = api_keys.create(
        name="shop", scopes=[Scope.WRITE, Scope.READ], partners=[partner.partner_id], rate_per_second=7
    )

    out, err = _rotate(key.prefix)

    new = api_keys.find(out.strip())
    assert new is not None
    assert (new.name, new.scopes, new.partners, new.rate_per_second) == (key.name, key.scopes, key.partners, 7)
    assert new.expires_at is None
    assert (_works(old), _works(out.strip())) == (True, True)
    key.refresh_from_db()
    assert key.expires_at is not None
    assert timedelta(hours=23.9) < key.expires_at - clock.now() <= timedelta(hours=24)
    assert re.search(rf"{key.prefix}….* is good until .* UTC; its successor is shop \({new.prefix}…\)", err)
    assert out.strip() not in err

    _age(key, timedelta(hours=24))

    assert (_works(old), _works(out.strip())) == (False, True)


def test_without_an_overlap_the_old_key_ends_at_once() -> None:
    key, old = make_api_key()

    out, _ = _rotate(key.prefix, "--overlap-hours", "0")

    assert (_works(old), _works(out.strip())) == (False, True)


def test_rotation_never_prolongs_the_old_key_and_the_new_one_ends_as_it_would_have() -> None:
    ends = clock.now() + HOUR
    key, _ = api_keys.create(name="a", scopes=ALL_SCOPES, expires_at=ends)

    made = api_keys.rotate(key, overlap=timedelta(days=9), now=clock.now())

    assert made is not None
    assert set(ApiKey.objects.values_list("expires_at", flat=True)) == {ends}


def test_what_a_key_made_is_its_successors_too_and_the_other_way_round() -> None:
    partner, (first, plain) = make_partner(), make_api_key(scopes=(Scope.WRITE,))
    stranger = Caller(make_api_key(scopes=(Scope.WRITE,))[1])
    plains = [plain]
    for _ in range(2):
        made = api_keys.rotate(first, overlap=HOUR, now=clock.now(), by=by_command())
        assert made is not None
        first, plain = made
        plains.append(plain)
    producers = [Caller(each) for each in plains]

    for maker in producers:
        for canceller in producers:
            task_id = document(maker.notify(notification(partner)), 202)["task_id"]
            problem(stranger.post(f"/v1/notify/{task_id}/cancel"), 403, "not_own_task")
            # The answer shows that it is allowed: the key may not read.
            assert canceller.post(f"/v1/notify/{task_id}/cancel").status_code == 200


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_a_key_that_has_ended_is_not_rotated(end: str) -> None:
    key, _ = api_keys.create(name="a", scopes=ALL_SCOPES, expires_at=clock.now() + HOUR)
    if end == "revoked":
        api_keys.revoke(key, now=clock.now())
    else:
        _age(key, HOUR)

    with pytest.raises(CommandError, match="was revoked or has expired; nothing was changed"):
        _rotate(key.prefix)

    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("hours", ["-1", "nan", "2161", "inf"])
def test_an_overlap_that_cannot_be_is_refused(hours: str) -> None:
    key, plain = make_api_key()

    with pytest.raises(CommandError, match="nothing was changed"):
        _rotate(key.prefix, f"--overlap-hours={hours}")

    assert (ApiKey.objects.count(), _works(plain)) == (1, True)


def test_a_whole_key_is_no_prefix_and_is_not_repeated() -> None:
    _, plain = make_api_key()

    with pytest.raises(CommandError) as refusal:
        _rotate(plain)

    assert plain not in str(refusal.value)


def test_a_key_is_made_with_an_end_and_a_rate() -> None:
    out = io.StringIO()
    arguments = ("create_api_key", "a", "--scope", "notify:read", "--rate", "2.5", "--expires-in-days", "30")
    call_command(*arguments, stdout=out, stderr=io.StringIO())

    key = api_keys.find(out.getvalue().strip())

    assert key is not None
    assert key.rate_per_second == 2.5
    assert key.expires_at is not None
    assert timedelta(days=29.9) < key.expires_at - clock.now() <= timedelta(days=30)


@pytest.mark.parametrize(
    "arguments", [("--rate", "0"), ("--rate", "1000001"), ("--rate", "nan"), ("--expires-in-days", "0"), ("--expires-in-days=-1",)]
)  # fmt: skip
def test_an_end_or_a_rate_that_cannot_be_makes_no_key(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="No key was made"):
        call_command("create_api_key", "a", "--scope", "notify:read", *arguments, stdout=io.StringIO())

    assert ApiKey.objects.count() == 0


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("rate_per_second", "0.01", "Must be between 0.1 and 1000000."),
        ("expires_at_0", "2020-01-01", "Must be in the future."),
    ],
)
def test_the_admin_refuses_the_same(field: str, value: str, error: str) -> None:
    given: dict[str, Any] = {
        "name": "a", "scopes": ["notify:read"], "partners": "", "expires_at_0": "2999-01-01", "expires_at_1": "00:00:00",
    }  # fmt: skip

    answer = superuser().post("/admin/notifier/apikey/add/", given | {field: value})

    errors = answer.context["adminform"].form.errors
    assert error in [sentence for sentences in errors.values() for sentence in sentences]
    assert ApiKey.objects.count() == 0


def test_the_name_of_a_key_that_has_expired_can_be_mended() -> None:
    key, plain = api_keys.create(name="a", scopes=["notify:read"], expires_at=clock.now() + HOUR)
    _age(key, 2 * HOUR)
    key.refresh_from_db()
    assert key.expires_at is not None
    ends = {"expires_at_0": f"{key.expires_at:%Y-%m-%d}", "expires_at_1": f"{key.expires_at:%H:%M:%S}"}

    superuser().post(f"/admin/notifier/apikey/{key.pk}/change/", {"name": "b", "scopes": ["notify:read"], **ends})

    assert (ApiKey.objects.get().name, _works(plain)) == ("b", False)
