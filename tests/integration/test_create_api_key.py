"""create_api_key and revoke_api_key: the key is printed once, alone on standard output."""

from __future__ import annotations

import io
import re

import pytest
from django.core.management import CommandError, call_command

from notifier import api_keys
from notifier.models import ApiKey
from tests.support.factories import make_api_key, make_partner

pytestmark = pytest.mark.django_db


def _run(*arguments: str) -> tuple[str, str]:
    """What the command writes to standard output, and to standard error."""
    out, err = io.StringIO(), io.StringIO()
    call_command(*arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_the_key_alone_goes_to_standard_output_and_works() -> None:
    make_partner(partner_id="acme")
    make_partner(partner_id="globex")

    out, err = _run(
        "create_api_key", "shop \U0001f600", "--scope", "notify:write", "--scope", "notify:read", "--partner", "acme",
        "--partner", "globex",
    )  # fmt: skip

    assert re.fullmatch(r"ntf_[A-Za-z0-9_-]{43}\n", out)
    key = api_keys.find(out.strip())
    assert key is not None
    assert (key.name, key.scopes, key.partners) == (
        "shop \U0001f600",
        ["notify:write", "notify:read"],
        ["acme", "globex"],
    )
    assert key.hash not in out + err
    assert out.strip() not in err
    assert err == (
        "API key 'shop \U0001f600' with notify:write, notify:read for partners: acme, globex. It cannot be shown again; "
        f"keep it safe. To revoke it: manage.py revoke_api_key {key.prefix}\n"
    )


def test_several_values_may_follow_one_option_and_twice_is_once() -> None:
    make_partner(partner_id="acme")

    out, _ = _run(
        "create_api_key", "shop", "--scope", "notify:read", "notify:write", "notify:read", "--partner", "acme", "acme"
    )

    key = api_keys.find(out.strip())
    assert key is not None
    assert (key.scopes, key.partners) == (["notify:read", "notify:write"], ["acme"])


def test_without_partners_a_key_is_for_all() -> None:
    out, err = _run("create_api_key", "shop", "--scope", "notify:operate")

    key = api_keys.find(out.strip())
    assert key is not None
    assert key.partners == []
    assert "for partners: all." in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["shop"], "scopes: must name at least one of notify:write, notify:read, notify:operate"),
        (["shop", "--scope", "write"], "scopes: 'write' is not one of notify:write, notify:read, notify:operate"),
        (["shop", "--scope", "notify:read", "--partner", "nobody"], "partners: there is no partner 'nobody'"),
        (["shop", "--scope", "notify:read", "--partner", "ACME"], "partners: there is no partner 'ACME'"),
        (["", "--scope", "notify:read"], "name: must be 1 to 200 printable characters"),
        ([" ", "--scope", "notify:read"], "name: must be 1 to 200 printable characters"),
        (["x" * 201, "--scope", "notify:read"], "name: must be 1 to 200 printable characters"),
        (["a\nb", "--scope", "notify:read"], "name: must be 1 to 200 printable characters"),
        (
            ["", "--scope", "x", "--partner", "nobody"],
            "name: must be 1 to 200 printable characters; scopes: 'x' is not one of notify:write, notify:read, "
            "notify:operate; partners: there is no partner 'nobody'",
        ),
    ],
)
def test_a_bad_request_makes_no_key(arguments: list[str], sentence: str) -> None:
    make_partner(partner_id="acme")

    with pytest.raises(CommandError) as refusal:
        _run("create_api_key", *arguments)

    assert str(refusal.value) == f"No key was made: {sentence}."
    assert ApiKey.objects.count() == 0


def test_revoke_refuses_the_key_from_now_on_and_no_other() -> None:
    (key, plain), (_, other) = make_api_key(), make_api_key()

    first, second = _run("revoke_api_key", key.prefix), _run("revoke_api_key", key.prefix)

    assert first == (f"API key {key} is revoked.\n", "")
    assert second == (f"API key {key} was revoked already.\n", "")
    assert api_keys.find(plain) is None
    assert api_keys.find(other) is not None


def test_an_unknown_prefix_or_a_whole_key_revokes_nothing_and_is_not_repeated() -> None:
    key, plain = make_api_key()

    for given in (plain, key.prefix[:-1], "", "%"):
        with pytest.raises(CommandError) as refusal:
            _run("revoke_api_key", given)
        assert str(refusal.value) == (
            "There is no API key with this prefix, which is a key's first 12 characters; nothing was changed."
        )

    assert api_keys.find(plain) is not None
