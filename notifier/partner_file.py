"""The partners file: YAML → validated partners, and what differs from those that exist. No database."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from django.core.exceptions import ValidationError

from notifier import partners, sealing
from notifier.models import Partner
from notifier.policy import redaction, retry

MAX_SENTENCE = 300

# Key in the file → column. What is not here, such as paused, is not the file's to say.
COLUMNS = {
    "name": "name",
    "enabled": "enabled",
    "allow_hosts": "allow_hosts",
    "allow_private_cidrs": "allow_private_cidrs",
    "timeout_seconds": "timeout_seconds",
    "connect_timeout_seconds": "connect_timeout_seconds",
    "retry.base_seconds": "retry_base_seconds",
    "retry.factor": "retry_factor",
    "retry.max_seconds": "retry_max_seconds",
    "retry.max_attempts": "max_attempts",
    "retry.jitter": "retry_jitter",
    "retry.schedule": "retry_schedule",
    "permanent_statuses": "permanent_statuses",
    "success_condition": "success_condition",
    "max_age_hours": "max_age_hours",
    "headers": "headers",
    "auth": "auth",
    "signing_secrets": "signing_secrets",
    "client_certificate": "client_certificate",
    "seal_bodies": "seal_bodies",
    "rate_per_second": "rate_per_second",
    "burst": "burst",
    "max_concurrency": "max_concurrency",
    "circuit.failure_ratio": "circuit_failure_ratio",
    "circuit.min_attempts": "circuit_min_attempts",
    "circuit.window_seconds": "circuit_window_seconds",
    "circuit.pause_seconds": "circuit_pause_seconds",
    "circuit.max_pause_seconds": "circuit_max_pause_seconds",
}
_KEYS = {column: key for key, column in COLUMNS.items()}
_TOP_KEYS = tuple(dict.fromkeys(key.partition(".")[0] for key in COLUMNS))
# Mappings within a partner's: retry and circuit, with the keys that they have.
_NESTED = {
    section: tuple(key.partition(".")[2] for key in COLUMNS if key.startswith(f"{section}."))
    for section in dict.fromkeys(key.partition(".")[0] for key in COLUMNS if "." in key)
}
_BACKOFF_ONLY = ("base_seconds", "factor", "max_seconds", "jitter")
# For these "none" is a value: no limit, or never.
_NULLABLE = tuple(_KEYS[column] for column in partners.NULLABLE_NUMBERS)
_TEXTS = ("name", "success_condition", "retry.jitter")
_FLOATS = (
    "timeout_seconds", "connect_timeout_seconds", "retry_base_seconds", "retry_factor", "retry_max_seconds",
    "max_age_hours", "rate_per_second", "circuit_failure_ratio", "circuit_window_seconds", "circuit_pause_seconds",
    "circuit_max_pause_seconds",
)  # fmt: skip


class FileRefused(Exception):
    """The file cannot be applied; a sentence for each thing that is wrong, with the partner and the key."""

    def __init__(self, sentences: Collection[str]) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = list(sentences)


@dataclass(frozen=True, slots=True)
class Change:
    """A column that differs, and how that is shown: ``key: before → after``, sensitive header values masked."""

    column: str
    shown: str


class _Loader(yaml.SafeLoader):
    """YAML's safe subset; a key that stands twice in one mapping is refused instead of the last one winning."""

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        if node is not None:
            _refuse_duplicates(node, (), set())
        return node


def _refuse_duplicates(node: yaml.Node, path: tuple[str, ...], seen: set[int]) -> None:
    # A node that an alias names again is one object: looked at once, which also ends cycles.
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_duplicates(item, path, seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                if first := lines.get((key.tag, name)):
                    raise FileRefused([_sentence((*path, name), f"is given twice, in lines {first} and {line}")])
                lines[key.tag, name] = line
            _refuse_duplicates(value, (*path, name), seen)


def _sentence(path: Collection[Any], problem: str) -> str:
    """``partner acme, retry.factor: must be a number``."""
    match tuple(path):
        case ("partners", partner):
            where = f"partner {partner}"
        case ("partners", partner, *keys):
            where = f"partner {partner}, {'.'.join(str(key) for key in keys)}"
        case keys:
            where = ".".join(str(key) for key in keys)
    text = f"{where[:MAX_SENTENCE]}: {problem}"
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= MAX_SENTENCE else f"{text[:MAX_SENTENCE]}…"


def read(raw: bytes) -> dict[str, Partner]:
    """The file's partners, unsaved and validated, a key left out at its default; or ``FileRefused``."""
    try:
        document = yaml.load(raw.decode("utf-8-sig"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except UnicodeDecodeError as error:
        raise FileRefused([f"the file is not UTF-8 (byte {error.start})"]) from None
    except yaml.YAMLError as error:
        raise FileRefused([f"the file is not YAML that can be read: {_yaml_problem(error)}"]) from None
    except (ValueError, OverflowError) as error:
        raise FileRefused([f"the file has a value that cannot be read: {str(error)[:MAX_SENTENCE]}"]) from None
    except RecursionError:
        raise FileRefused(["the file is nested too deep"]) from None
    if not isinstance(document, dict) or not isinstance(document.get("partners"), dict):
        raise FileRefused(["partners: must be there, as a mapping of partner ids to their settings"])
    problems = [
        _sentence([name], "is not a key of this file; it has only partners") for name in document if name != "partners"
    ]
    found: dict[str, Partner] = {}
    for partner_id, spec in document["partners"].items():
        partner, sentences = _partner(partner_id, spec)
        problems += sentences
        found[partner.partner_id] = partner
    if problems:
        raise FileRefused(problems)
    return found


def _yaml_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{what}, line {mark.line + 1}" if mark is not None else what


def _partner(partner_id: Any, spec: Any) -> tuple[Partner, list[str]]:
    path = ("partners", partner_id)
    if not isinstance(partner_id, str):
        return Partner(partner_id=str(partner_id)), [_sentence(path, "its id must be a string; write it in quotes")]
    if not isinstance(spec, dict):
        return Partner(partner_id=partner_id), [_sentence(path, "must be a mapping of keys ({} for the defaults)")]
    misfits = dict(_misfits(spec))
    problems = [_sentence((*path, key), problem) for key, problem in misfits.items()]
    columns = {COLUMNS[key]: value for key, value in _flat(spec).items() if key in COLUMNS and key not in misfits}
    schedule = columns.get("retry_schedule")
    if isinstance(schedule, list) and "max_attempts" not in columns:
        # One attempt, and one more after each wait.
        columns["max_attempts"] = min(len(schedule) + 1, retry.MAX_ATTEMPTS)
    partner = Partner(partner_id=partner_id, **columns)
    try:
        partners.validate(partner)
    except ValidationError as error:
        for column, sentences in error.message_dict.items():
            where = path if column == "partner_id" else (*path, _KEYS.get(column, column))
            problems += [_sentence(where, sentence) for sentence in sentences]
    if not problems:
        _use_floats(partner)
    return partner, problems


def _flat(spec: Mapping[Any, Any]) -> dict[Any, Any]:
    """The settings by their full keys: those under ``retry`` as ``retry.…``."""
    flat = {key: value for key, value in spec.items() if key not in _NESTED}
    for section in _NESTED:
        inner = spec.get(section)
        if isinstance(inner, dict):
            flat |= {f"{section}.{key}": value for key, value in inner.items()}
    return flat


def _misfits(spec: Mapping[Any, Any]) -> Iterator[tuple[Any, str]]:
    """What ``partners.validate`` cannot see: keys that do not exist, and values of a type that no column would keep."""
    yield from _unknown(spec, _TOP_KEYS, "")
    for section, known in _NESTED.items():
        inner = spec.get(section, {})
        if isinstance(inner, dict):
            yield from _unknown(inner, known, f"{section}.")
        else:
            yield section, "must be a mapping of keys"
    retry_keys = spec.get("retry")
    if isinstance(retry_keys, dict) and "schedule" in retry_keys:
        for key in _BACKOFF_ONLY:
            if key in retry_keys:
                yield f"retry.{key}", "cannot stand beside retry.schedule"
    for key, value in _flat(spec).items():
        if value is None and key in COLUMNS and key not in _NULLABLE:
            yield key, "has no value; leave the key out for the default"
        elif key in _TEXTS and not isinstance(value, str):
            yield key, "must be a string"
        elif key == "name" and (len(value) > 200 or not value.isprintable()):
            yield key, "must be at most 200 printable characters"
        elif key == "enabled" and not isinstance(value, bool):
            yield key, "must be true or false"


def _unknown(spec: Mapping[Any, Any], known: Collection[str], prefix: str) -> Iterator[tuple[Any, str]]:
    for key in spec:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            yield f"{prefix}{key}", "is not a known key" + (f"; did you mean {prefix}{near[0]}?" if near else "")


def _use_floats(partner: Partner) -> None:
    """Whole numbers as the floats that they are stored as, so that ``5`` and ``5.0`` are no difference."""
    for column in _FLOATS:
        value = getattr(partner, column)
        setattr(partner, column, None if value is None else float(value))
    if partner.retry_schedule is not None:
        partner.retry_schedule = [float(seconds) for seconds in partner.retry_schedule]


def changes(old: Partner, new: Partner, *, sensitive: Collection[str]) -> list[Change]:
    """What ``new`` would change about ``old``, in the file's order. ``sensitive`` names more headers to mask."""
    found: list[Change] = []
    for key, column in COLUMNS.items():
        before, after = getattr(old, column), getattr(new, column)
        if column == "headers":
            before, after = sealing.comparable(before), sealing.comparable(after)
        if before == after:
            continue
        if column == "headers":
            found += [Change(column, line) for line in _header_changes(before, after, sensitive)]
        else:
            found.append(Change(column, f"{key}: {_value(before)} → {_value(after)}"))
    return found


def _header_changes(before: Mapping[str, str], after: Mapping[str, str], sensitive: Collection[str]) -> Iterator[str]:
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) != after.get(name):
            old, new = (_header(headers, name, sensitive) for headers in (before, after))
            yield f"headers.{name}: {old} → {new}"


def _header(headers: Mapping[str, str], name: str, sensitive: Collection[str]) -> str:
    if name in headers and (redaction.is_sensitive(name, sensitive) or not isinstance(headers[name], str)):
        return redaction.MASK
    return _value(headers.get(name))


def _value(value: Any) -> str:
    """As JSON, which shows a control character as an escape: a diff is printed to a terminal."""
    return "none" if value is None else json.dumps(value, ensure_ascii=not str(value).isprintable())
