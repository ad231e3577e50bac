"""What an API key may be made with, whether it is asked for on the command line or in the admin."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.exceptions import ValidationError

from notifier.models import Partner, Scope

MAX_NAME = 200


def check(*, name: str, scopes: Sequence[str], partners: Sequence[str]) -> None:
    """Raise ``ValidationError`` with a sentence for each field that cannot be used."""
    errors: dict[str, str] = {}
    if not 1 <= len(name.strip()) <= MAX_NAME or not name.isprintable():
        errors["name"] = f"must be 1 to {MAX_NAME} printable characters"
    unknown_scopes = [scope for scope in scopes if scope not in Scope.values]
    if not scopes:
        errors["scopes"] = f"must name at least one of {', '.join(Scope.values)}"
    elif unknown_scopes:
        errors["scopes"] = f"{unknown_scopes[0]!r} is not one of {', '.join(Scope.values)}"
    existing = set(Partner.objects.filter(partner_id__in=partners).values_list("partner_id", flat=True))
    missing = [partner for partner in partners if partner not in existing]
    if missing:
        errors["partners"] = f"there is no partner {missing[0]!r}"
    if errors:
        raise ValidationError(errors)
