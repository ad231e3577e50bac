"""What must hold end to end, asked of any running system: the tests run these against MariaDB and against `make run`."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.support.client import Client
from tests.support.ledger import PartnerSimulator, Seen
from tests.support.payloads import mixed
from tests.support.servers import free_port
from tests.support.waiting import wait_until

# Short waits without jitter, so that the times of attempts can be compared exactly.
BASE_SECONDS = 0.2
PARTNER: dict[str, Any] = {
    "allow_hosts": ["127.0.0.1:*", "*.invalid"],
    "allow_private_cidrs": ["127.0.0.0/8"],
    "connect_timeout_seconds": 1,
    "timeout_seconds": 2,
    "retry": {"base_seconds": BASE_SECONDS, "factor": 2, "max_seconds": 1, "max_attempts": 5, "jitter": "none"},
}
METHODS = ("POST", "PUT", "PATCH", "DELETE", "POST")


@dataclass(frozen=True)
class Sent:
    """One notification as it should arrive."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def ended(client: Client, task_ids: list[str], *, seconds: float) -> dict[str, dict[str, Any]]:
    """The tasks, once each of them has ended."""
    waiting, tasks = list(task_ids), {}

    def all_ended() -> bool:
        while waiting:
            task = client.task(waiting[-1])
            if task["status"] not in ("succeeded", "dead"):
                return False
            tasks[waiting.pop()] = task
        return True

    wait_until(all_ended, seconds=seconds, what=f"{len(task_ids)} tasks to end", every=0.1)
    return tasks


def everything_arrives_once(client: Client, partner: PartnerSimulator, partner_ids: list[str], count: int) -> None:
    """Method, path, query, headers and body byte for byte, exactly once, and attempts that agree with the ledger."""
    sent: dict[str, Sent] = {}
    for number, (fields, body) in enumerate(mixed(count)):
        method, path = METHODS[number % len(METHODS)], f"/ok?n={number}&q=%7e%2F..//a+b&%C3%BC=1"
        headers = {**fields.pop("headers", {}), "X-Number": str(number), "X-Latin": "caf\u00e9"}
        task_id = client.notify(
            partner_id=partner_ids[number % len(partner_ids)], target_url=partner.url(path), method=method,
            headers=headers, **fields,
        )  # fmt: skip
        if "body" in fields:
            headers.setdefault("Content-Type", "application/json")
        sent[task_id] = Sent(method, path, headers, body)

    tasks = ended(client, list(sent), seconds=90)

    assert {task["status"] for task in tasks.values()} == {"succeeded"}
    seen = {request.webhook_id: request for request in partner.requests()}
    assert partner.counts() == dict.fromkeys(sent, 1)
    for task_id, wanted in sent.items():
        _arrived_as_sent(seen[task_id], wanted)
        (attempt,) = client.attempts(task_id)
        assert (attempt["attempt_no"], attempt["status"], attempt["http_status_code"]) == (1, "succeeded", 200)
        assert tasks[task_id]["attempt_count"] == 1
        # The answer went out after the request had come in, and the attempt was written after that.
        assert datetime.fromisoformat(attempt["created_at"]).timestamp() >= seen[task_id].at - 0.01


def _arrived_as_sent(seen: Seen, wanted: Sent) -> None:
    assert (seen.method, seen.path, seen.body) == (wanted.method, wanted.path, wanted.body)
    for name, value in wanted.headers.items():
        assert seen.headers[name.lower()] == value
    assert ("content-type" in seen.headers) == ("Content-Type" in wanted.headers)
    assert seen.headers["webhook-attempt"] == "1"
    assert seen.headers["user-agent"].startswith("notifier/")
    assert seen.headers["content-length"] == str(len(wanted.body))


def a_flaky_partner_is_retried_by_policy(client: Client, partner: PartnerSimulator, partner_id: str) -> None:
    task_id = client.notify(partner_id=partner_id, target_url=partner.url("/flaky/3"))

    task = ended(client, [task_id], seconds=20)[task_id]

    assert (task["status"], task["attempt_count"], task["dead_reason"]) == ("succeeded", 4, None)
    attempts = client.attempts(task_id)
    assert [attempt["attempt_no"] for attempt in attempts] == [1, 2, 3, 4]
    assert [attempt["http_status_code"] for attempt in attempts] == [503, 503, 503, 200]
    times = [datetime.fromisoformat(attempt["created_at"]).timestamp() for attempt in attempts]
    arrivals = [seen.at for seen in partner.requests() if seen.webhook_id == task_id]
    assert len(arrivals) == 4
    for number, wait in enumerate((BASE_SECONDS, BASE_SECONDS * 2, BASE_SECONDS * 4)):
        # Never before the policy's time, and not a sweep's interval and a half after it.
        assert wait <= arrivals[number + 1] - times[number] < wait + 2.5


OUTCOMES = {
    # path: status, dead_reason, attempts, HTTP status of the last, error_code of the last
    "/status/500": ("dead", "exhausted", 5, 500, "http_500"),
    "/status/422": ("dead", "rejected", 1, 422, "http_422"),
    "/status/302": ("succeeded", None, 1, 302, None),
}


def each_answer_has_its_outcome(client: Client, partner: PartnerSimulator, partner_id: str) -> None:
    ids = {path: client.notify(partner_id=partner_id, target_url=partner.url(path)) for path in OUTCOMES}

    tasks = ended(client, list(ids.values()), seconds=30)

    for path, task_id in ids.items():
        task, last = tasks[task_id], tasks[task_id]["last_attempt"]
        got = (task["status"], task["dead_reason"], task["attempt_count"], last["http_status_code"], last["error_code"])
        assert got == OUTCOMES[path], path
        assert partner.counts()[task_id] == task["attempt_count"]
    # A redirect that was followed would have come here.
    assert not [seen for seen in partner.requests() if seen.path == "/ok"]


def each_network_failure_has_its_code(client: Client, partner: PartnerSimulator, partner_id: str) -> None:
    targets = {
        partner.url("/reset"): "connection_reset",
        partner.url("/drip"): "timeout",
        f"http://127.0.0.1:{free_port()}/": "connection_refused",
        "http://no-such-host.invalid/": "dns_failure",
        f"https://127.0.0.1:{partner.port}/": "tls_failure",
    }
    ids = {url: client.notify(partner_id=partner_id, target_url=url, max_attempts=2) for url in targets}

    tasks = ended(client, list(ids.values()), seconds=40)

    for url, code in targets.items():
        task = tasks[ids[url]]
        assert (task["status"], task["dead_reason"], task["attempt_count"]) == ("dead", "exhausted", 2), url
        attempts = client.attempts(ids[url])
        assert [(attempt["status"], attempt["error_code"]) for attempt in attempts] == [("failed", code)] * 2
        assert [attempt["http_status_code"] for attempt in attempts] == [None, None]
        # The total time-out is 2 s; a drip cannot outlive it.
        assert all(attempt["latency_ms"] < 3000 for attempt in attempts)


def one_key_is_one_task(
    client: Client, partner: PartnerSimulator, partner_id: str, *, rounds: int, threads: int
) -> None:
    """The same post at the same instant from several threads: one task, and every caller gets it."""
    barrier = threading.Barrier(threads)
    answers: list[tuple[str, int, str]] = []

    def post() -> None:
        mine = client.another()
        for number in range(rounds):
            barrier.wait(30)
            fields = {
                "partner_id": partner_id, "target_url": partner.url("/ok"), "body": {"n": number},
                "idempotency_key": f"race-{number}",
            }  # fmt: skip
            answer = mine.request("POST", "/v1/notify", fields)
            answers.append((f"race-{number}", answer.status, answer.body.get("task_id", str(answer.body))))
        mine.close()

    runners = [threading.Thread(target=post) for _ in range(threads)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()

    for number in range(rounds):
        mine = [(status, task_id) for key, status, task_id in answers if key == f"race-{number}"]
        assert sorted(status for status, _ in mine) == [200] * (threads - 1) + [202]
        assert len({task_id for _, task_id in mine}) == 1
    ids = sorted({task_id for _, _, task_id in answers})
    ended(client, ids, seconds=60)
    assert {task_id: partner.counts()[task_id] for task_id in ids} == dict.fromkeys(ids, 1)
