"""POST /v1/notify: well formed, but it cannot be accepted as things stand: 422, and no row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifier import clock
from notifier.models import NotificationLabel, NotificationTask, Partner
from tests.support.api import caller, notification, problem
from tests.support.factories import HOST, make_partner
from tests.unit.cases import case

pytestmark = pytest.mark.django_db


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _refused(partner: Partner, code: str, field: str, **fields: Any) -> str:
    """Post it, which must be refused with a 422, and give back the sentence."""
    shown = problem(caller().notify(notification(partner, **fields)), 422, code)
    assert [(entry["field"], entry["code"]) for entry in shown["details"]] == [(field, code)]
    assert shown["details"][0]["message"] == shown["message"]
    assert NotificationTask.objects.count() == 0
    assert NotificationLabel.objects.count() == 0
    return str(shown["message"])


@pytest.mark.parametrize("partner_id", ["nobody", "PARTNER", "." * 64])
def test_an_unknown_partner_is_refused(partner_id: str) -> None:
    make_partner(partner_id="partner")

    _refused(make_partner(), "unknown_partner", "partner_id", partner_id=partner_id)


def test_a_disabled_partner_is_refused() -> None:
    _refused(make_partner(enabled=False), "partner_disabled", "partner_id")


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example.com/", f"https://{HOST}.other.example/", f"https://x.{HOST}/", f"https://{HOST}:8443/",
        f"http://{HOST}:8080/", "https://1.1.1.1/", "https://[2606:4700::1111]/", "http://localhost/", "http://127.0.0.1/",
    ],
)  # fmt: skip
def test_a_host_that_the_partner_does_not_name_is_refused(url: str) -> None:
    _refused(make_partner(), "host_not_allowed", "target_url", target_url=url)


def test_a_partner_without_hosts_can_be_reached_nowhere() -> None:
    _refused(make_partner(allow_hosts=[]), "host_not_allowed", "target_url")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://10.1.2.3/", "http://169.254.169.254/latest/meta-data", "http://0.0.0.0/",
        "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[fe80::1]/", "http://[64:ff9b::7f00:1]/",
        "http://[fd00:ec2::254]/", "http://255.255.255.255/", "http://192.168.0.1./",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused(url: str) -> None:
    _refused(make_partner(allow_hosts=["*"]), "address_not_allowed", "target_url", target_url=url)


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "169.254.0.0/16", "169.254.169.254/32"])
def test_a_metadata_address_is_refused_whatever_is_allowed(cidr: str) -> None:
    partner = make_partner(allow_hosts=["169.254.169.254"], allow_private_cidrs=[cidr])

    _refused(partner, "address_not_allowed", "target_url", target_url="http://169.254.169.254/")


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        (f"https://{HOST}", f"http://{HOST}/"),
        (f"{HOST}/in", f"https://{HOST}/inside"),
        (f"{HOST}/in", f"https://{HOST}/in/../out"),
        (f"{HOST}/in", f"https://{HOST}/in/%2e%2e%2fout"),
    ],
)
def test_a_scheme_or_a_path_that_the_partner_does_not_name_is_refused(entry: str, url: str) -> None:
    _refused(make_partner(allow_hosts=[entry]), "host_not_allowed", "target_url", target_url=url)


def test_what_the_installation_denies_is_refused(settings: Any) -> None:
    settings.NOTIFIER_DENY_HOSTS, settings.NOTIFIER_DENY_CIDRS = [HOST], ["93.184.216.0/24"]
    partner = make_partner(allow_hosts=["*:*"], allow_private_cidrs=["93.184.216.34/32"])

    message = _refused(partner, "host_not_allowed", "target_url", target_url=f"https://{HOST}:8443/")
    assert message == f"This installation denies {HOST} port 8443 to everybody."
    _refused(partner, "address_not_allowed", "target_url", target_url="https://93.184.216.34/")


def test_where_the_notifier_itself_listens_is_refused() -> None:
    partner = make_partner(allow_hosts=["*:*"], allow_private_cidrs=["127.0.0.0/8"])

    message = _refused(partner, "address_not_allowed", "target_url", target_url="http://127.0.0.1:8000/")
    assert message == "127.0.0.1 may not be connected to: the notifier itself listens there."


@pytest.mark.parametrize("value", ["{{secret:acme}}", "Bearer {{ secret: acme }}", "a{{secret:}}b"])
def test_a_secret_that_does_not_exist_is_refused(value: str) -> None:
    message = _refused(make_partner(), "unknown_secret", "headers", headers={"X-A": "b", "Authorization": value})

    assert message.startswith("Header Authorization names a secret ")


@pytest.mark.parametrize("ahead", [timedelta(days=366, minutes=1), timedelta(days=10_000)])
def test_deliver_at_more_than_a_year_ahead_is_refused(ahead: timedelta) -> None:
    _refused(make_partner(), "deliver_at_too_far", "deliver_at", deliver_at=_time(clock.now() + ahead))


@pytest.mark.parametrize(
    ("deliver_in", "expires_in"),
    [
        case(None, timedelta(seconds=-1), id="past"),
        case(None, timedelta(days=-10_000), id="long-past"),
        case(timedelta(hours=2), timedelta(hours=1), id="before-deliver-at"),
        case(timedelta(hours=2), timedelta(hours=2), id="at-deliver-at"),
        case(timedelta(hours=-2), timedelta(hours=-1), id="after-deliver-at-but-past"),
    ],
)
def test_a_task_that_could_never_be_delivered_in_time_is_refused(
    deliver_in: timedelta | None, expires_in: timedelta
) -> None:
    now = clock.now()
    times = {"expires_at": _time(now + expires_in)}
    if deliver_in is not None:
        times["deliver_at"] = _time(now + deliver_in)

    _refused(make_partner(), "expires_too_early", "expires_at", **times)


def test_the_reason_never_holds_a_secret_or_the_body() -> None:
    asked = notification(
        make_partner(),
        target_url="https://other.example/?token=hunter2",
        headers={"Authorization": "hunter2"},
        body="hunter2",
    )

    answer = caller().notify(asked)

    problem(answer, 422, "host_not_allowed")
    assert b"hunter2" not in answer.content
