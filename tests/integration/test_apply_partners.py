"""apply_partners: the file is what holds; a diff first, all of it or nothing, and never a secret printed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError

from notifier import clock, partner_file
from notifier.models import Partner, PartnerState
from tests.support.factories import make_partner

pytestmark = pytest.mark.django_db

FULL = """
partners:
  acme:
    name: "Acme \\U0001F600"
    enabled: false
    allow_hosts: ["api.acme.example", "*.acme.example:8443"]
    allow_private_cidrs: [10.1.0.0/16]
    timeout_seconds: 4
    connect_timeout_seconds: 1.5
    retry: {base_seconds: 1, factor: 2, max_seconds: 3600, max_attempts: 7, jitter: none}
    permanent_statuses: [400, 410]
    success_condition: status == 200
    max_age_hours: 24
    headers: {Authorization: "Bearer {{secret:x}}", X-Team: blue}
    rate_per_second: 10
    burst: 20
    max_concurrency: 5
    circuit: {failure_ratio: 0.9, min_attempts: 7, window_seconds: 30, pause_seconds: 1, max_pause_seconds: 60}
"""


def _apply(folder: Path, text: str | bytes, *arguments: str) -> list[str]:
    """Apply a file of this text; the lines that it prints."""
    file = folder / "partners.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    out = io.StringIO()
    call_command("apply_partners", str(file), *arguments, stdout=out)
    return out.getvalue().splitlines()


def _rows() -> list[dict[str, Any]]:
    return [dict(row) for row in Partner.objects.order_by("pk").values()]


def test_every_key_of_the_file_reaches_its_column(tmp_path: Path) -> None:
    lines = _apply(tmp_path, FULL)

    assert lines == ["+ acme", "Applied: 1 added, 0 changed, 0 unchanged."]
    partner = Partner.objects.get(partner_id="acme")
    assert (partner.name, partner.enabled) == ("Acme \U0001f600", False)
    assert partner.allow_hosts == ["api.acme.example", "*.acme.example:8443"]
    assert partner.allow_private_cidrs == ["10.1.0.0/16"]
    assert (partner.timeout_seconds, partner.connect_timeout_seconds, partner.max_age_hours) == (4.0, 1.5, 24.0)
    assert (partner.retry_base_seconds, partner.retry_factor, partner.retry_max_seconds) == (1.0, 2.0, 3600.0)
    assert (partner.max_attempts, partner.retry_jitter, partner.retry_schedule) == (7, "none", None)
    assert (partner.permanent_statuses, partner.success_condition) == ([400, 410], "status == 200")
    assert partner.headers == {"Authorization": "Bearer {{secret:x}}", "X-Team": "blue"}
    assert (partner.rate_per_second, partner.burst, partner.max_concurrency) == (10.0, 20, 5)
    assert (partner.circuit_failure_ratio, partner.circuit_min_attempts, partner.circuit_window_seconds) == (
        0.9,
        7,
        30.0,
    )
    assert (partner.circuit_pause_seconds, partner.circuit_max_pause_seconds) == (1.0, 60.0)
    assert PartnerState.objects.filter(partner=partner).count() == 1


@pytest.mark.parametrize(
    ("retry", "schedule", "max_attempts"),
    [
        ("{schedule: [1, 30, 3600]}", [1.0, 30.0, 3600.0], 4),
        ("{schedule: [1, 30], max_attempts: 10}", [1.0, 30.0], 10),
        ("{schedule: [" + ", ".join(["1"] * 100) + "]}", [1.0] * 100, 100),
    ],
)
def test_a_schedule_gives_as_many_attempts_as_it_has_waits_and_one(
    tmp_path: Path, retry: str, schedule: list[float], max_attempts: int
) -> None:
    _apply(tmp_path, f"partners: {{acme: {{retry: {retry}}}}}")

    partner = Partner.objects.get()
    assert (partner.retry_schedule, partner.max_attempts) == (schedule, max_attempts)


def test_the_same_file_again_changes_nothing(tmp_path: Path) -> None:
    _apply(tmp_path, FULL)
    before = _rows()

    lines = _apply(tmp_path, FULL)

    assert lines == ["= acme unchanged", "Applied: 0 added, 0 changed, 1 unchanged."]
    assert _rows() == before


def test_the_diff_names_partner_key_and_both_values(tmp_path: Path) -> None:
    _apply(tmp_path, FULL)

    lines = _apply(
        tmp_path,
        FULL.replace("timeout_seconds: 4\n", "timeout_seconds: 3\n")
        .replace("jitter: none", "jitter: full")
        .replace("    burst: 20\n", "")
        .replace("[400, 410]", "[]")
        .replace('"Acme \\U0001F600"', "'A\"cme'"),
    )

    assert lines == [
        '~ acme name: "Acme \U0001f600" → "A\\"cme"',
        "~ acme timeout_seconds: 4.0 → 3.0",
        '~ acme retry.jitter: "none" → "full"',
        "~ acme permanent_statuses: [400, 410] → []",
        "~ acme burst: 20 → none",
        "Applied: 0 added, 1 changed, 0 unchanged.",
    ]
    partner = Partner.objects.get()
    assert (partner.timeout_seconds, partner.burst, partner.permanent_statuses) == (3.0, None, [])


def test_a_key_left_out_is_its_default_again(tmp_path: Path) -> None:
    make_partner(
        partner_id="acme", timeout_seconds=9.0, retry_schedule=[1.0], max_attempts=2, allow_hosts=["x.example"]
    )

    lines = _apply(tmp_path, "partners: {acme: {name: Partner 1}}".replace("Partner 1", Partner.objects.get().name))

    assert lines[:-1] == [
        '~ acme allow_hosts: ["x.example"] → []',
        "~ acme timeout_seconds: 9.0 → 5.0",
        "~ acme retry.max_attempts: 2 → 10",
        "~ acme retry.schedule: [1.0] → none",
    ]


def test_what_the_file_does_not_say_is_left_alone(tmp_path: Path) -> None:
    acme = make_partner(partner_id="acme", name="", allow_hosts=[], state={"paused_at": clock.read()})
    others = [make_partner(partner_id=f"p{number}", timeout_seconds=9.0) for number in range(7)]
    before = [row for row in _rows() if row["id"] != acme.pk]

    lines = _apply(tmp_path, "partners: {acme: {timeout_seconds: 3}}")

    assert lines == [
        "~ acme timeout_seconds: 5.0 → 3.0",
        "Left alone, because the file does not name them: 7 (p0, p1, p2, p3, p4, …).",
        "Applied: 0 added, 1 changed, 0 unchanged.",
    ]
    assert PartnerState.objects.get(pk=acme.pk).paused_at is not None
    assert [row for row in _rows() if row["id"] != acme.pk] == before
    assert len(others) == 7


def test_a_dry_run_shows_the_same_and_changes_nothing(tmp_path: Path) -> None:
    make_partner(partner_id="globex", name="", allow_hosts=[])
    make_partner(partner_id="initech", name="", allow_hosts=[])
    text = "partners: {acme: {}, globex: {enabled: false}, initech: {}}"
    before = _rows()

    dry = _apply(tmp_path, text, "--dry-run")
    after_dry = _rows()
    real = _apply(tmp_path, text)

    assert dry == [
        "+ acme",
        "~ globex enabled: true → false",
        "= initech unchanged",
        "Dry run, nothing was changed: 1 added, 1 changed, 1 unchanged.",
    ]
    assert after_dry == before
    assert real == [*dry[:-1], "Applied: 1 added, 1 changed, 1 unchanged."]


def test_sensitive_header_values_are_not_printed(tmp_path: Path, settings: Any) -> None:
    settings.NOTIFIER_SENSITIVE_HEADERS = ["x-token"]
    make_partner(partner_id="acme", name="", allow_hosts=[], headers={"Authorization": "OLD-SECRET", "X-Old": "1"})

    lines = _apply(
        tmp_path, 'partners: {acme: {headers: {authorization: NEW-SECRET, X-Token: NEW-SECRET, X-B: "\\x9b1"}}}'
    )

    assert lines == [
        "~ acme headers.Authorization: *** → none",
        '~ acme headers.X-Old: "1" → none',
        "~ acme headers.authorization: none → ***",
        "~ acme headers.X-Token: none → ***",
        '~ acme headers.X-B: none → "\\u009b1"',
        "Applied: 0 added, 1 changed, 0 unchanged.",
    ]


def test_a_failure_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_partner(partner_id="acme")
    before = _rows()
    save = Partner.save

    def refused(self: Partner, *args: Any, **kwargs: Any) -> None:
        if self.partner_id == "globex":
            raise IntegrityError("made by somebody else")
        save(self, *args, **kwargs)

    monkeypatch.setattr(Partner, "save", refused)
    with pytest.raises(CommandError, match="Somebody else made one of these partners just now; nothing was changed"):
        _apply(tmp_path, "partners: {acme: {enabled: false}, globex: {}}")

    assert _rows() == before


def test_only_what_the_file_changes_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partner = make_partner(partner_id="acme", name="", allow_hosts=[])
    save = Partner.save

    def disabled_by_somebody_else_meanwhile(self: Partner, *args: Any, **kwargs: Any) -> None:
        Partner.objects.filter(pk=self.pk).update(enabled=False)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Partner, "save", disabled_by_somebody_else_meanwhile)
    _apply(tmp_path, "partners: {acme: {timeout_seconds: 3}}")

    written = Partner.objects.get()
    assert (written.timeout_seconds, written.enabled) == (3.0, False)
    assert written.updated_at > partner.updated_at


def test_partners_that_differ_in_case_are_two(tmp_path: Path) -> None:
    lines = _apply(tmp_path, "partners: {acme: {}, Acme: {enabled: false}}")

    assert lines[:2] == ["+ acme", "+ Acme"]
    assert dict(Partner.objects.values_list("partner_id", "enabled")) == {"acme": True, "Acme": False}


def test_anchors_and_merges_are_understood(tmp_path: Path) -> None:
    text = """
partners:
  acme: &usual {timeout_seconds: 2, retry: {factor: 3}}
  globex: {<<: *usual, timeout_seconds: 4}
"""

    _apply(tmp_path, text)

    found = Partner.objects.order_by("partner_id").values_list("partner_id", "timeout_seconds", "retry_factor")
    assert list(found) == [("acme", 2.0, 3.0), ("globex", 4.0, 3.0)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        # the file
        ("partners: [", "the file is not YAML that can be read: "),
        ("", "partners: must be there, as a mapping of partner ids to their settings"),
        ("- acme", "partners: must be there, as a mapping of partner ids to their settings"),
        ("partners:", "partners: must be there, as a mapping of partner ids to their settings"),
        ("partners: {}\nother: 1", "other: is not a key of this file; it has only partners"),
        ("partners: {}\n---\npartners: {}", "the file is not YAML that can be read: but found another document, line 2"),
        (b"partners: {\xff: {}}", "the file is not UTF-8 (byte 11)"),
        ("partners: {a: \x07}", "the file is not YAML that can be read: unacceptable character"),
        ("partners: {a: !!python/object:os.system {}}", "the file is not YAML that can be read: could not determine"),
        ("partners: {a: {name: 2026-99-99}}", "the file has a value that cannot be read: month must be in 1..12"),
        ("partners: " + "[" * 1000, "the file is nested too deep"),
        ("partners: {? [a]: {}}", "the file is not YAML that can be read: found unhashable key, line 1"),
        # the ids
        ("partners: {acme: {}, acme: {}}", "partner acme: is given twice, in lines 1 and 1"),
        ("partners:\n  acme: {}\n  'acme': {}", "partner acme: is given twice, in lines 2 and 3"),
        ("partners: {1: {}}", "partner 1: its id must be a string; write it in quotes"),
        ("partners: {no: {}}", "partner False: its id must be a string; write it in quotes"),
        ("partners: {a b: {}}", "partner a b: must be 1 to 64 of the characters A-Z a-z 0-9 . _ -"),
        ("partners: {'': {}}", "partner : must be 1 to 64 of the characters A-Z a-z 0-9 . _ -"),
        ("partners: {" + "a" * 65 + ": {}}", f"partner {'a' * 65}: must be 1 to 64 of the characters "),
        ('partners: {"a\\eb": {}}', "partner a?b: must be 1 to 64 of the characters A-Z a-z 0-9 . _ -"),
        ("partners: {acme: }", "partner acme: must be a mapping of keys ({} for the defaults)"),
        ("partners: {acme: [name]}", "partner acme: must be a mapping of keys ({} for the defaults)"),
        # the keys
        ("partners: {acme: {timeout: 3}}", "partner acme, timeout: is not a known key; did you mean "),
        ("partners: {acme: {paused: true}}", "partner acme, paused: is not a known key"),
        ("partners: {acme: {1: 2}}", "partner acme, 1: is not a known key"),
        ("partners: {acme: {retry.factor: 2}}", "partner acme, retry.factor: is not a known key"),
        ("partners: {acme: {retry: {jiter: full}}}", "partner acme, retry.jiter: is not a known key; did you mean retry.jitter?"),
        ("partners: {acme: {name: a,\n name: b}}", "partner acme, name: is given twice, in lines 1 and 2"),
        ("partners: {acme: {retry: {factor: 2, factor: 3}}}", "partner acme, retry.factor: is given twice, in lines 1 and 1"),
        ("partners: {acme: {headers: {A: x, A: y}}}", "partner acme, headers.A: is given twice, in lines 1 and 1"),
        # the values
        ("partners: {acme: {name: 5}}", "partner acme, name: must be a string"),
        ("partners: {acme: {name: }}", "partner acme, name: has no value; leave the key out for the default"),
        ("partners: {acme: {name: " + "x" * 201 + "}}", "partner acme, name: must be at most 200 printable characters"),
        ('partners: {acme: {name: "a\\eb"}}', "partner acme, name: must be at most 200 printable characters"),
        ("partners: {acme: {enabled: 'yes'}}", "partner acme, enabled: must be true or false"),
        ("partners: {acme: {enabled: 1}}", "partner acme, enabled: must be true or false"),
        ("partners: {acme: {allow_hosts: a.example}}", "partner acme, allow_hosts: must be a list of strings"),
        ("partners: {acme: {allow_hosts: [1]}}", "partner acme, allow_hosts: must be a list of strings"),
        ("partners: {acme: {allow_hosts: ['ftp://x']}}", "partner acme, allow_hosts: 'ftp://x' is not a host, "),
        ("partners: {acme: {allow_hosts: [" + "x@" * 5000 + "]}}", "partner acme, allow_hosts: 'x@x@"),
        ("partners: {acme: {allow_private_cidrs: [10.0.0.1/8]}}", "partner acme, allow_private_cidrs: '10.0.0.1/8' is not "),
        ("partners: {acme: {timeout_seconds: fast}}", "partner acme, timeout_seconds: must be a number"),
        ("partners: {acme: {timeout_seconds: true}}", "partner acme, timeout_seconds: must be a number"),
        ("partners: {acme: {timeout_seconds: .nan}}", "partner acme, timeout_seconds: must be a number"),
        ("partners: {acme: {timeout_seconds: .inf}}", "partner acme, timeout_seconds: must be between 0.01 and 30"),
        ("partners: {acme: {timeout_seconds: 1" + "0" * 400 + "}}", "partner acme, timeout_seconds: must be between "),
        ("partners: {acme: {connect_timeout_seconds: 0}}", "partner acme, connect_timeout_seconds: must be between "),
        ("partners: {acme: {max_age_hours: -1}}", "partner acme, max_age_hours: must be between 0.001 and 8784"),
        ("partners: {acme: {burst: 1.5, rate_per_second: 1}}", "partner acme, burst: must be a whole number"),
        ("partners: {acme: {burst: 5}}", "partner acme, burst: needs rate_per_second beside it"),
        ("partners: {acme: {max_concurrency: 0}}", "partner acme, max_concurrency: must be between 1 and 1e+06"),
        ("partners: {acme: {permanent_statuses: [99]}}", "partner acme, permanent_statuses: must be a list of status codes "),
        ("partners: {acme: {permanent_statuses: 400}}", "partner acme, permanent_statuses: must be a list of status codes "),
        ("partners: {acme: {success_condition: true}}", "partner acme, success_condition: must be a string"),
        ("partners: {acme: {success_condition: status ==}}", "partner acme, success_condition: cannot be used: "),
        ("partners: {acme: {headers: [A]}}", "partner acme, headers: must be an object of names and values"),
        ("partners: {acme: {headers: {A: 1}}}", "partner acme, headers: the value of A is not a string"),
        ("partners: {acme: {headers: {Host: x}}}", "partner acme, headers: Host is set by the notifier itself "),
        # retry
        ("partners: {acme: {retry: fast}}", "partner acme, retry: must be a mapping of keys"),
        ("partners: {acme: {retry: }}", "partner acme, retry: must be a mapping of keys"),
        ("partners: {acme: {retry: {factor: 0.5}}}", "partner acme, retry.factor: must be between 1 and 100"),
        ("partners: {acme: {retry: {base_seconds: -1}}}", "partner acme, retry.base_seconds: must be between "),
        ("partners: {acme: {retry: {max_seconds: x}}}", "partner acme, retry.max_seconds: must be a number"),
        ("partners: {acme: {retry: {max_attempts: 101}}}", "partner acme, retry.max_attempts: must be between 1 and 100"),
        ("partners: {acme: {retry: {jitter: some}}}", "partner acme, retry.jitter: must be full or none"),
        ("partners: {acme: {retry: {jitter: [full]}}}", "partner acme, retry.jitter: must be a string"),
        ("partners: {acme: {retry: {jitter: null}}}", "partner acme, retry.jitter: has no value; leave the key out "),
        ("partners: {acme: {retry: {schedule: []}}}", "partner acme, retry.schedule: must be a list of 1 to 100 waits "),
        ("partners: {acme: {retry: {schedule: 5}}}", "partner acme, retry.schedule: must be a list of 1 to 100 waits "),
        ("partners: {acme: {retry: {schedule: [x]}}}", "partner acme, retry.schedule: must hold seconds between 0 and "),
        ("partners: {acme: {retry: {schedule: [1], factor: 2}}}", "partner acme, retry.factor: cannot stand beside retry.schedule"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_one_sentence_and_changes_nothing(
    tmp_path: Path, text: str | bytes, sentence: str
) -> None:
    make_partner(partner_id="globex")
    before = _rows()

    with pytest.raises(CommandError) as refusal:
        _apply(tmp_path, text)

    said = str(refusal.value)
    assert said.startswith(f"{tmp_path / 'partners.yaml'} was refused and nothing was changed: {sentence}")
    assert len(said) < 600
    assert "\n" not in said
    assert _rows() == before


def test_one_bad_partner_stops_the_good_ones_and_all_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as refusal:
        _apply(tmp_path, "partners: {good: {}, acme: {enabled: 1, retry: {factor: 0}}, globex: {burst: 2}}")

    assert str(refusal.value).splitlines()[1:] == [
        "partner acme, enabled: must be true or false",
        "partner acme, retry.factor: must be between 1 and 100",
        "partner globex, burst: needs rate_per_second beside it",
    ]
    assert Partner.objects.count() == 0


def test_a_bomb_of_aliases_is_refused_quickly(tmp_path: Path) -> None:
    levels = "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 30))

    with pytest.raises(CommandError) as refusal:
        _apply(tmp_path, f"x0: &x0 [boom]\n{levels}partners: {{acme: {{allow_hosts: *x29}}}}")

    assert "partner acme, allow_hosts: must be a list of strings" in str(refusal.value)
    assert len(str(refusal.value)) < 5000


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(CommandError, match=r"cannot be read: .*\. Nothing was changed\."):
        call_command("apply_partners", str(tmp_path / name))


def test_every_setting_of_a_partner_is_a_key_or_an_operator_s() -> None:
    columns = {field.name for field in Partner._meta.concrete_fields}

    assert columns - set(partner_file.COLUMNS.values()) == {"id", "partner_id", "created_at", "updated_at"}


def test_from_the_shell_a_refusal_is_a_line_and_a_code_and_no_traceback(tmp_path: Path) -> None:
    manage = [sys.executable, str(Path(__file__).parents[2] / "manage.py"), "apply_partners"]
    environment = os.environ | {
        "DATABASE_URL": f"sqlite:///{tmp_path}/empty.sqlite3",
        "NOTIFIER_DATA_DIR": str(tmp_path),
    }
    (tmp_path / "good.yaml").write_text("partners: {acme: {}}")

    missing = subprocess.run([*manage, "no.yaml"], env=environment, capture_output=True, text=True, check=False)
    unmigrated = subprocess.run(
        [*manage, str(tmp_path / "good.yaml")], env=environment, capture_output=True, text=True, check=False
    )

    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == "CommandError: no.yaml cannot be read: No such file or directory. Nothing was changed.\n"
    assert (unmigrated.returncode, unmigrated.stdout) == (1, "")
    assert unmigrated.stderr == (
        "CommandError: The database cannot be used (no such table: notifier_partner); nothing was changed. "
        "Has `manage.py migrate` run?\n"
    )
