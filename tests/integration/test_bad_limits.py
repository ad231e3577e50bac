"""Limits and circuits that cannot be meant: refused by the file and by the admin alike, and nothing is changed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from notifier.models import Partner
from tests.support.factories import make_partner
from tests.support.staff import superuser
from tests.unit.cases import case

pytestmark = pytest.mark.django_db

HUGE = "9" * 400
# Key of the file, the column of the form, values that are refused there, what both say.
NUMBERS = [
    ("rate_per_second", "rate_per_second", ["0", "-1", "1e9", "1e-9"], "must be between 0.001 and 1e+06"),
    ("burst", "burst", ["0", "1000001"], "must be between 1 and 1e+06"),
    ("max_concurrency", "max_concurrency", ["0", "1000001"], "must be between 1 and 1e+06"),
    ("circuit.failure_ratio", "circuit_failure_ratio", ["0", "-0.5", "1.01", "50"], "must be between 0.01 and 1"),
    ("circuit.min_attempts", "circuit_min_attempts", ["0", "1000001"], "must be between 1 and 1e+06"),
    ("circuit.window_seconds", "circuit_window_seconds", ["0", "-60", "86401"], "must be between 1 and 86400"),
    ("circuit.pause_seconds", "circuit_pause_seconds", ["0", "-5", "1e6"], "must be between 0.1 and 86400"),
    ("circuit.max_pause_seconds", "circuit_max_pause_seconds", ["0", "-5", "1e6"], "must be between 0.1 and 86400"),
]
CASES = [
    case(key, column, value, sentence, id=f"{key}={value}")
    for key, column, values, sentence in NUMBERS
    for value in values
]
# What YAML can say and a form cannot.
TYPES = [
    case(key, value, "must be a whole number" if key in ("burst", "max_concurrency", "circuit.min_attempts") else "must be a number", id=f"{key}={value}")
    for key, _, _, _ in NUMBERS
    for value in ("true", "many", "[1]", "{}", '"5"')
]  # fmt: skip


def _rows() -> list[dict[str, Any]]:
    return [dict(row) for row in Partner.objects.order_by("pk").values()]


def _spec(key: str, value: str) -> str:
    section, _, name = key.rpartition(".")
    rate = "rate_per_second: 1, " if key == "burst" else ""
    return f"{{{rate}{section}: {{{name}: {value}}}}}" if section else f"{{{rate}{name}: {value}}}"


def _refused(folder: Path, text: str) -> str:
    """What apply_partners says of this file; nothing must have changed."""
    make_partner(partner_id="acme", rate_per_second=5.0)
    before = _rows()
    file = folder / "partners.yaml"
    file.write_text(text)
    with pytest.raises(CommandError) as refusal:
        call_command("apply_partners", str(file), stdout=io.StringIO())
    assert _rows() == before
    return str(refusal.value)


@pytest.mark.parametrize(("key", "column", "value", "sentence"), CASES)
def test_the_file_refuses_a_number_that_cannot_be_meant(
    tmp_path: Path, key: str, column: str, value: str, sentence: str
) -> None:
    # YAML 1.1 has no float without a dot and a sign: 1e9 would be a string.
    said = _refused(tmp_path, f"partners: {{acme: {_spec(key, value.replace('1e-', '1.0e-').replace('1e', '1.0e+'))}}}")

    assert f"partner acme, {key}: {sentence}" in said


@pytest.mark.parametrize(("key", "value", "sentence"), TYPES)
def test_the_file_refuses_what_is_no_number(tmp_path: Path, key: str, value: str, sentence: str) -> None:
    assert f"partner acme, {key}: {sentence}" in _refused(tmp_path, f"partners: {{acme: {_spec(key, value)}}}")


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", HUGE, f"-{HUGE}"])
@pytest.mark.parametrize("key", [key for key, *_ in NUMBERS])
def test_the_file_refuses_a_number_beyond_all_bounds(tmp_path: Path, key: str, value: str) -> None:
    assert f"partner acme, {key}: must be " in _refused(tmp_path, f"partners: {{acme: {_spec(key, value)}}}")


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        case("{burst: 5}", "burst: needs rate_per_second beside it", id="burst-alone"),
        case("{circuit: 5}", "circuit: must be a mapping of keys", id="circuit-a-number"),
        case("{circuit: {ratio: 0.5}}", "circuit.ratio: is not a known key", id="unknown-key"),
        case("{circuit: {min_attempts: }}", "circuit.min_attempts: has no value", id="no-value"),
        case("{paused: true}", "paused: is not a known key", id="pause-is-not-the-files-to-say"),
    ],
)
def test_the_file_refuses_what_makes_no_sense(tmp_path: Path, spec: str, sentence: str) -> None:
    assert f"partner acme, {sentence}" in _refused(tmp_path, f"partners: {{acme: {spec}}}")


@pytest.mark.parametrize("steps", [101, 10_000])
def test_the_file_refuses_a_schedule_of_too_many_steps(tmp_path: Path, steps: int) -> None:
    schedule = ", ".join(["1"] * steps)

    said = _refused(tmp_path, f"partners: {{acme: {{retry: {{schedule: [{schedule}]}}}}}}")

    assert "partner acme, retry.schedule: must be a list of 1 to 100 waits in seconds" in said
    assert len(said) < 1_000


def _form(partner: Partner, **fields: str) -> tuple[int, dict[str, list[str]]]:
    """Post the partner's form with these fields changed; its errors."""
    client = superuser()
    address = f"/admin/notifier/partner/{partner.pk}/change/"
    form = client.get(address).context["adminform"].form
    values = {name: form.fields[name].prepare_value(form[name].value()) for name in form.fields}
    data = {name: "on" if value is True else str(value) for name, value in values.items() if value not in (None, False)}
    answer = client.post(address, data | fields)
    errors = {} if answer.context is None else answer.context["adminform"].form.errors
    return answer.status_code, {field: list(messages) for field, messages in errors.items()}


@pytest.mark.parametrize(("key", "column", "value", "sentence"), CASES)
def test_the_form_refuses_the_same(key: str, column: str, value: str, sentence: str) -> None:
    partner = make_partner(rate_per_second=5.0)
    before = _rows()

    status, errors = _form(partner, **{column: value})

    assert status == 200
    assert errors == {column: [f"{sentence[0].upper()}{sentence[1:]}."]}
    assert _rows() == before


@pytest.mark.parametrize(
    ("column", "value"),
    [(column, value) for _, column, _, _ in NUMBERS for value in ("-1", "inf", "nan", HUGE, "many")]
    + [(column, "1.5") for column in ("burst", "max_concurrency", "circuit_min_attempts")],
)
def test_the_form_refuses_what_is_no_number_of_the_field(column: str, value: str) -> None:
    partner = make_partner()
    before = _rows()

    status, errors = _form(partner, **{column: value})

    assert (status, list(errors)) == (200, [column])
    assert len(errors[column]) == 1
    assert _rows() == before


@pytest.mark.parametrize("steps", [101, 10_000])
def test_the_form_refuses_a_schedule_of_too_many_steps(steps: int) -> None:
    partner = make_partner()
    before = _rows()

    status, errors = _form(partner, retry_schedule=", ".join(["1"] * steps))

    assert (status, errors) == (200, {"retry_schedule": ["Must be a list of 1 to 100 waits in seconds."]})
    assert _rows() == before


def test_empty_limits_are_none_and_an_empty_ratio_is_never() -> None:
    partner = make_partner(rate_per_second=5.0, burst=5, max_concurrency=5)

    status, _ = _form(partner, rate_per_second="", burst="", max_concurrency="", circuit_failure_ratio="")

    partner.refresh_from_db()
    assert status == 302
    assert (partner.rate_per_second, partner.burst, partner.max_concurrency) == (None, None, None)
    assert partner.circuit_failure_ratio is None
