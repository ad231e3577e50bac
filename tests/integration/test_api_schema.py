"""/v1/schema: valid, and what it says is what the service does."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime
from functools import cache
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its stubs are a package of their own, for one call
import pytest
import yaml
from django.core.management import call_command

from notifier.api.urls import urlpatterns
from notifier.models import PartnerState, Status
from tests.support.api import Answer, anyone, caller, document, notification
from tests.support.factories import make_attempt, make_partner, make_task
from tests.unit.cases import case

pytestmark = pytest.mark.django_db

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = AT.replace(year=2999)


@cache
def _schema() -> dict[str, Any]:
    """Made once: that takes a second, and the server ends a transaction that stands still for ten."""
    answer = anyone().get("/v1/schema")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("application/vnd.oai.openapi")
    loaded: dict[str, Any] = yaml.safe_load(answer.content)
    return loaded


def test_the_schema_is_valid_and_complete_without_a_warning() -> None:
    written = io.StringIO()

    call_command("spectacular", "--validate", "--fail-on-warn", stdout=written)

    assert yaml.safe_load(written.getvalue()) == _schema()


def test_every_address_of_the_api_is_in_it() -> None:
    addresses = {"/" + str(pattern.pattern).replace("<str:", "{").replace(">", "}") for pattern in urlpatterns}

    assert set(_schema()["paths"]) == addresses


def test_the_operations_and_their_answers() -> None:
    operations = {
        operation["operationId"]: sorted(operation["responses"])
        for methods in _schema()["paths"].values()
        for operation in methods.values()
    }

    read = ["200", "401", "403", "404", "503"]
    action = ["200", "400", "401", "403", "404", "409", "503"]
    assert operations == {
        "notify": ["200", "202", "400", "401", "403", "411", "413", "415", "422", "429", "431", "503"],
        "notify_batch": ["200", "400", "401", "403", "411", "413", "415", "429", "431", "503"],
        "list_notifications": ["200", "400", "401", "403", "503"],
        "read_notification": read,
        "read_attempts": read,
        "explain_notification": read,
        "cancel_notification": action,
        "requeue_notification": action,
        "requeue_notifications": ["200", "400", "401", "403", "503"],
        "list_partners": ["200", "400", "401", "403", "503"],
        "read_partner": read,
        # Pausing what is paused is as good.
        "pause_partner": [status for status in action if status != "409"],
        "resume_partner": action,
        "open_circuit": action,
        "close_circuit": action,
        "release_hold": action,
    }


def test_the_request_is_the_contracts() -> None:
    request = _schema()["components"]["schemas"]["NotifyRequest"]

    strings = {"type": "object", "additionalProperties": {"type": "string"}}
    assert request["required"] == ["partner_id", "target_url"]
    assert request["properties"] == {
        "partner_id": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9._-]+$"},
        "target_url": {"type": "string", "format": "uri", "maxLength": 2048},
        "method": {"allOf": [{"$ref": "#/components/schemas/MethodEnum"}], "default": "POST"},
        "headers": strings | {"maxProperties": 64},
        "body": {},
        "body_text": {"type": "string"},
        "body_base64": {"type": "string", "format": "byte"},
        "idempotency_key": {"type": "string", "minLength": 1, "maxLength": 255},
        "priority": {"type": "integer", "minimum": 0, "maximum": 9, "default": 5},
        "success_condition": {"type": "string", "maxLength": 1024},
        "deliver_at": {"type": "string", "format": "date-time"},
        "expires_at": {"type": "string", "format": "date-time"},
        "max_attempts": {"type": "integer", "minimum": 1, "maximum": 100},
        "metadata": strings | {"maxProperties": 16},
    }


def test_the_lists_parameters() -> None:
    parameters = {entry["name"]: entry["schema"] for entry in _schema()["paths"]["/v1/notify"]["get"]["parameters"]}

    assert set(parameters) == {
        "partner_id", "status", "dead_reason", "created_after", "created_before", "metadata.KEY", "cursor", "limit",
    }  # fmt: skip
    assert parameters["limit"] == {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}
    assert set(parameters["status"]["enum"]) == set(Status.values)
    assert set(parameters["dead_reason"]["enum"]) == {"exhausted", "rejected", "expired", "cancelled", "blocked"}


def test_the_parameters_of_the_list_of_partners() -> None:
    parameters = {entry["name"]: entry["schema"] for entry in _schema()["paths"]["/v1/partners"]["get"]["parameters"]}

    assert parameters == {
        "cursor": {"type": "string"},
        "limit": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50},
    }


def test_every_operation_needs_a_key() -> None:
    schema = _schema()

    assert schema["components"]["securitySchemes"] == {
        "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key."}
    }
    assert {str(operation["security"]) for methods in schema["paths"].values() for operation in methods.values()} == {
        "[{'apiKey': []}]"
    }


def _strict(node: Any) -> Any:
    """OpenAPI 3.0 as JSON Schema, in which nothing may come that is not described."""
    if isinstance(node, list):
        return [_strict(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    inner = {name: _strict(entry) for name, entry in node.items() if name != "nullable"}
    if inner.get("type") == "object" and "properties" in inner:
        inner["additionalProperties"] = False
    return {"anyOf": [inner, {"type": "null"}]} if node.get("nullable") else inner


def _agrees(answer: Answer, path: str, method: str) -> None:
    """The answer is what the schema says of it: status, media type, every field and no other."""
    schema = _schema()
    described = schema["paths"][path][method]["responses"][str(answer.status_code)]["content"][answer["Content-Type"]]
    jsonschema.validate(answer.json(), {**_strict(described["schema"]), "components": _strict(schema["components"])})


@pytest.mark.parametrize(
    "fields",
    [
        case({}, id="pending"),
        case({"status": Status.RUNNING}, id="running"),
        case({"status": Status.SUCCEEDED, "body": b"{}", "body_format": "body"}, id="json"),
        case({"status": Status.DEAD, "body": b"x", "body_format": "body_text"}, id="text"),
        case({"status": Status.FAILED, "body": b"x", "body_format": "body_base64", "metadata": {"a": "b"}}, id="binary"),
        case(
            {
                "status": Status.FAILED, "last_attempt_no": 1, "last_attempt_status": "failed", "last_http_status_code": 503,
                "last_error_code": "a", "last_error_message": "b", "last_latency_ms": 1.5, "idempotency_key": "k",
                "headers": {"A": "b"},
            },
            id="attempted",
        ),
    ],
)  # fmt: skip
def test_a_task_and_a_page_agree_with_it(fields: dict[str, Any]) -> None:
    task = make_task(**fields)
    if task.last_attempt_no:
        task.last_attempt_at = task.created_at
        task.save(update_fields=["last_attempt_at"])

    _agrees(caller().get(f"/v1/notify/{task.task_id}"), "/v1/notify/{task_id}", "get")
    _agrees(caller().get("/v1/notify?limit=1"), "/v1/notify", "get")


def test_attempts_agree_with_it() -> None:
    task = make_task(status=Status.FAILED)
    make_attempt(task, 1, response_headers=[["A", "b"]])
    make_attempt(task, 2, status="lease_expired", http_status_code=None, latency_ms=None)

    _agrees(caller().get(f"/v1/notify/{task.task_id}/attempts"), "/v1/notify/{task_id}/attempts", "get")


def test_what_is_accepted_and_acted_upon_agrees_with_it() -> None:
    producer, partner = caller(), make_partner()
    accepted = producer.notify(notification(partner, body={"a": 1}))
    task_id = document(accepted, 202)["task_id"]

    _agrees(accepted, "/v1/notify", "post")
    _agrees(producer.post(f"/v1/notify/{task_id}/cancel"), "/v1/notify/{task_id}/cancel", "post")
    _agrees(producer.post(f"/v1/notify/{task_id}/requeue"), "/v1/notify/{task_id}/requeue", "post")


@pytest.mark.parametrize("status", Status)
def test_an_explanation_agrees_with_it(status: Status) -> None:
    task = make_task(status=status)

    _agrees(caller().get(f"/v1/notify/{task.task_id}/explain"), "/v1/notify/{task_id}/explain", "get")


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        case({}, {}, id="defaults"),
        case(
            {
                "retry_schedule": [1.0], "headers": {"A": "b"}, "rate_per_second": 1.5, "burst": 2, "max_concurrency": 3,
                "circuit_failure_ratio": None, "name": "A",
            },
            {},
            id="everything-set",
        ),
        case(
            {}, {"paused_at": AT, "hold_until": LATER, "held_at": AT, "circuit_state": "half_open", "circuit_probe_at": AT},
            id="held-back",
        ),
    ],
)  # fmt: skip
def test_partners_agree_with_it(fields: dict[str, Any], state: dict[str, Any]) -> None:
    partner, operator = make_partner(**fields), caller()
    PartnerState.objects.filter(pk=partner.pk).update(**state, circuit_reason="x")
    make_task(partner)

    _agrees(operator.get("/v1/partners?limit=1"), "/v1/partners", "get")
    _agrees(operator.get(f"/v1/partners/{partner.partner_id}"), "/v1/partners/{partner_id}", "get")


def test_operations_on_partners_and_what_they_refuse_agree_with_it() -> None:
    partner, operator = make_partner(), caller()

    for action in ("pause", "resume", "resume", "circuit/open", "circuit/open", "circuit/close", "circuit/close"):
        answer = operator.post(f"/v1/partners/{partner.partner_id}/{action}")
        _agrees(answer, f"/v1/partners/{{partner_id}}/{action}", "post")
    path = "/v1/partners/{partner_id}/hold/release"
    _agrees(operator.post(f"/v1/partners/{partner.partner_id}/hold/release"), path, "post")
    _agrees(operator.post("/v1/partners/nobody/hold/release"), path, "post")


def test_problems_agree_with_it() -> None:
    producer, partner, task = caller(), make_partner(), make_task()

    for answer in (
        producer.notify({"priority": 99}),
        anyone().notify({}),
        caller(scopes=()).notify({}),
        producer.notify({}, headers={"Transfer-Encoding": "chunked"}),
        producer.notify(raw=b"x" * 300_000),
        producer.notify({}, content_type="text/plain"),
        producer.notify(notification(partner, target_url="https://other.example/")),
    ):
        _agrees(answer, "/v1/notify", "post")
    _agrees(producer.get("/v1/notify?limit=0"), "/v1/notify", "get")
    _agrees(producer.get("/v1/notify/x"), "/v1/notify/{task_id}", "get")
    _agrees(producer.post(f"/v1/notify/{task.task_id}/requeue"), "/v1/notify/{task_id}/requeue", "post")


def test_the_page_that_shows_it() -> None:
    answer = anyone().get("/v1/docs")

    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/html; charset=utf-8"
    page = answer.content.decode()
    assert "/v1/schema" in anyone().get(re.findall(r'src="(/v1/docs\?[^"]+)"', page)[0]).content.decode()
    # Everything it loads is our own: a machine without the internet shows it too.
    assert not re.findall(r"(?:src|href)=\"https?://", page)
