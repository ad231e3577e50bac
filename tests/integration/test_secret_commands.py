"""The commands for secrets: values come from standard input, and none is ever printed but one that was just made."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.core.management.base import CommandError
from standardwebhooks import Webhook

from notifier import secret_store
from notifier.models import Partner, PartnerSecret
from tests.support.factories import make_partner
from tests.support.secrets import set_secrets

pytestmark = pytest.mark.django_db


def _run(*arguments: str, monkeypatch: pytest.MonkeyPatch | None = None, stdin: bytes = b"") -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    if monkeypatch is not None:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin), isatty=lambda: False))
    call_command(*arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def _values(partner: Partner, name: str) -> tuple[str, ...]:
    return secret_store.backend().values(partner.partner_id, [name]).get(name, ())


@pytest.mark.parametrize(
    ("stdin", "value"),
    [
        (b"CANARY-1", "CANARY-1"), (b"CANARY-1\n", "CANARY-1"), (b"CANARY-1\r\n", "CANARY-1"), (b" CANARY 1 \n\n", " CANARY 1 \n"),
    ],
)  # fmt: skip
def test_a_value_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch, stdin: bytes, value: str) -> None:
    partner = make_partner()

    out, err = _run("set_secret", partner.partner_id, "token", monkeypatch=monkeypatch, stdin=stdin)

    assert _values(partner, "token") == (value,)
    assert (out, err) == ("", f"Secret token of {partner.partner_id} is set, version 1.\n")


def test_a_made_signing_secret_is_printed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    partner = make_partner()

    hmac, _ = _run("set_secret", partner.partner_id, "sign", "--generate", "hmac")
    public, _ = _run("set_secret", partner.partner_id, "ed", "--generate", "ed25519")
    _run("set_secret", partner.partner_id, "sign", "--generate", "hmac", "--overlap-hours", "1")

    Webhook(hmac.strip())
    assert public.startswith("whpk_")
    assert _values(partner, "sign")[1] == hmac.strip()
    listed, _ = _run("list_secrets", partner.partner_id)
    assert [line.split()[:4] for line in listed.splitlines()] == [
        [partner.partner_id, "ed", "version", "1"],
        [partner.partner_id, "sign", "version", "2"],
        [partner.partner_id, "sign", "version", "1"],
    ]
    assert "until" in listed.splitlines()[2]
    assert "whsec_" not in listed


@pytest.mark.parametrize(
    ("arguments", "stdin", "sentence"),
    [
        (("nobody", "token"), b"CANARY", "There is no partner 'nobody'; nothing was changed."),
        (("{id}", "a.b"), b"CANARY", "Nothing was set: name must be 1 to 64"),
        (("{id}", "token"), b"", "Nothing was set: value is empty."),
        (("{id}", "token"), b"CANARY\xff", "Nothing was set: standard input is not UTF-8."),
        (("{id}", "token", "--overlap-hours", "-1"), b"CANARY", "Nothing was set: overlap must be between"),
        (("{id}", "token", "--overlap-hours", "inf"), b"CANARY", "Nothing was set: overlap must be between"),
    ],
)
def test_what_cannot_be_set_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], stdin: bytes, sentence: str
) -> None:
    given = [argument.format(id=make_partner().partner_id) for argument in arguments]

    with pytest.raises(CommandError) as raised:
        _run("set_secret", *given, monkeypatch=monkeypatch, stdin=stdin)

    assert str(raised.value).startswith(sentence)
    assert "CANARY" not in str(raised.value)
    assert PartnerSecret.objects.count() == 0


def test_removing() -> None:
    partner = make_partner()
    set_secrets(partner, token="CANARY-1")

    out, _ = _run("remove_secret", partner.partner_id, "token")

    assert out == f"Secret token of {partner.partner_id} is erased (1 version).\n"
    assert PartnerSecret.objects.count() == 0
    with pytest.raises(CommandError, match="has no secret of this name"):
        _run("remove_secret", partner.partner_id, "token")


@pytest.mark.parametrize("command", [("set_secret", "acme", "x"), ("remove_secret", "acme", "x"), ("list_secrets",)])
def test_secrets_that_are_kept_elsewhere_are_not_touched(settings: Any, command: tuple[str, ...]) -> None:
    settings.NOTIFIER_SECRETS_BACKEND = "files"

    with pytest.raises(CommandError, match="NOTIFIER_SECRETS_BACKEND is files"):
        _run(*command)


def test_rotating_keys_says_what_was_done(settings: Any) -> None:
    partner = make_partner(headers={"Cookie": "a=b"})
    set_secrets(partner, one="1111", two="2222")
    settings.NOTIFIER_SEALING_KEYS = [Fernet.generate_key().decode()]

    out, _ = _run("rotate_secret_keys", "--after", f"secrets={PartnerSecret.objects.earliest('pk').pk}")

    assert out.splitlines() == [
        "secrets: 1 looked at, 1 sealed anew.", "partners: 1 looked at, 1 sealed anew.", "notifications: 0 looked at, 0 sealed anew.",
    ]  # fmt: skip


def test_rotating_keys_complains_of_what_nobody_can_open(settings: Any) -> None:
    set_secrets(make_partner(), one="1111")
    settings.SECRET_KEY = "another" * 10

    with pytest.raises(CommandError, match="1 rows have something that none of the keys opens: secrets"):
        _run("rotate_secret_keys")


@pytest.mark.parametrize("after", ["secrets", "secrets=x", "users=5", "=5"])
def test_a_place_that_there_is_not_is_refused(after: str) -> None:
    with pytest.raises(CommandError, match="is not one of secrets, partners, notifications"):
        _run("rotate_secret_keys", "--after", after)
