"""A producer's side of the HTTP contract: requests as bytes, answers as they came, problems looked at whole."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.http import HttpResponse
from django.test import Client

from notifier.models import NotificationLabel, NotificationTask
from tests.support.factories import ALL_SCOPES, URL, make_api_key

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse

    from notifier.models import Partner

    Answer = _MonkeyPatchedWSGIResponse
else:
    Answer = HttpResponse

PROBLEM_KEYS = ["type", "title", "status", "detail", "code", "message", "details"]
# What a leaked stack, a repr of an exception or a page of Django's looks like.
_INSIDES = re.compile(
    rb"Traceback|File \"|line \d+, in |<html|<!doctype|[A-Z]\w*(?:Error|Exception)\b|<class |site-packages|django\.|notifier\.[a-z]"
)


class Caller:
    """Django's test client with an API key; nothing between a test and the service touches the JSON."""

    def __init__(self, plain_key: str | None) -> None:
        # An unexpected error is to be seen as a caller sees it: as an answer.
        self._client = Client(raise_request_exception=False)
        self._credentials = {} if plain_key is None else {"Authorization": f"Bearer {plain_key}"}

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
        **environ: Any,
    ) -> Answer:
        """``body`` goes out as JSON; ``raw`` as it is."""
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        return self._client.generic(
            method, path, data, content_type=content_type, headers=self._credentials | (headers or {}), **environ
        )

    def post(self, path: str, body: Any = None, **how: Any) -> Answer:
        return self.send("POST", path, body, **how)

    def get(self, path: str, **how: Any) -> Answer:
        return self.send("GET", path, **how)

    def notify(self, body: Any = None, **how: Any) -> Answer:
        return self.post("/v1/notify", body, **how)


def caller(*, scopes: tuple[str, ...] = ALL_SCOPES, partners: tuple[str, ...] = ()) -> Caller:
    """Someone with a new key."""
    return Caller(make_api_key(scopes=scopes, partners=partners)[1])


def anyone() -> Caller:
    """Someone without a key."""
    return Caller(None)


def notification(partner: Partner, **fields: Any) -> dict[str, Any]:
    """The smallest request that is accepted, and what the test adds to it."""
    return {"partner_id": partner.partner_id, "target_url": URL} | fields


def document(answer: Answer, status: int = 200) -> Any:
    """The answer's JSON, which must have that status."""
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/json"
    return json.loads(answer.content)


def problem(answer: Answer, status: int, code: str) -> dict[str, Any]:
    """The answer's problem document, whose whole shape is checked (RFC 9457 and the contract's own fields)."""
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert re.fullmatch(r"[A-Za-z0-9._:/+=@-]{1,128}", answer["X-Request-ID"])
    shown: dict[str, Any] = json.loads(answer.content)
    assert list(shown) == PROBLEM_KEYS
    assert shown["type"] == f"urn:notifier:problem:{code}"
    assert shown["title"] == HTTPStatus(status).phrase
    assert shown["status"] == status
    assert shown["code"] == code
    assert shown["message"] == shown["detail"]
    assert shown["message"].strip()
    for entry in shown["details"]:
        assert list(entry) == ["field", "code", "message"]
        assert re.fullmatch(r"[a-z][a-z0-9_]*", entry["code"])
        assert entry["message"].strip()
    assert not _INSIDES.search(answer.content), answer.content
    return shown


def nothing_stored() -> None:
    assert NotificationTask.objects.count() == 0
    assert NotificationLabel.objects.count() == 0


def malformed(answer: Answer, code: str, field: str, detail_code: str) -> str:
    """A 400 that names this one field, and gives the sentence about it."""
    shown = problem(answer, 400, code)
    assert [(entry["field"], entry["code"]) for entry in shown["details"]] == [(field, detail_code)]
    sentence = str(shown["details"][0]["message"])
    assert shown["message"] == (f"{field}: {sentence}" if field else sentence)
    nothing_stored()
    return sentence
