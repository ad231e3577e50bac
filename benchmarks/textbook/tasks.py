from __future__ import annotations

import threading
import time

import requests
from celery import Task, shared_task
from django.conf import settings
from requests.adapters import HTTPAdapter

from benchmarks.textbook.models import Attempt, Notification

MAX_RETRIES = 8
FIRST_RETRY_SECONDS = 5
LONGEST_RETRY_SECONDS = 3600
# Connect and read, in seconds.
TIMEOUT = (3, 5)

_threads = threading.local()


def session() -> requests.Session:
    """One for each thread, so that connections to partners are used again."""
    if not hasattr(_threads, "session"):
        made = requests.Session()
        adapter = HTTPAdapter(pool_connections=100, pool_maxsize=10)
        made.mount("http://", adapter)
        made.mount("https://", adapter)
        if settings.TUNED:
            # Else each request reads the environment's proxies and .netrc again.
            made.trust_env = False
        _threads.session = made
    return _threads.session


@shared_task(bind=True, max_retries=MAX_RETRIES)
def deliver(self: Task, notification_id: int) -> None:
    notification = Notification.objects.get(pk=notification_id)
    if notification.status != Notification.Status.PENDING:
        return
    notification.attempts += 1
    status, error = None, ""
    begun = time.monotonic()
    try:
        response = session().request(
            notification.method,
            notification.target_url,
            data=notification.body.encode(),
            headers={"Content-Type": "application/json", **notification.headers},
            timeout=TIMEOUT,
            allow_redirects=False,
        )
        status = response.status_code
    except requests.RequestException as failure:
        error = str(failure)[:500]
    Attempt.objects.create(
        notification=notification,
        number=notification.attempts,
        http_status=status,
        error=error,
        duration_ms=(time.monotonic() - begun) * 1000,
    )
    delivered = status is not None and status < 400
    retry = not delivered and self.request.retries < MAX_RETRIES
    if delivered:
        notification.status = Notification.Status.DELIVERED
    elif not retry:
        notification.status = Notification.Status.FAILED
    notification.save(update_fields=["status", "attempts", "updated_at"])
    if retry:
        wait = min(FIRST_RETRY_SECONDS * 2**self.request.retries, LONGEST_RETRY_SECONDS)
        raise self.retry(countdown=wait)
