"""The request as a curl command to try by hand, without its secrets."""

from __future__ import annotations

import shlex

from notifier import sealing
from notifier.models import NotificationTask

BODY_BYTES = 8_000


def command(task: NotificationTask) -> str:
    """Sealed and sensitive values stand as ``***``: whoever may know them fills them in."""
    headers = sealing.shown_headers(task.partner.headers) | sealing.shown_headers(task.headers)
    if task.content_type and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = task.content_type
    headers["Webhook-Id"] = str(task.task_id)
    # -g: brackets and braces in the address stand for themselves.
    lines = [f"curl -i -g -X {task.http_method}"]
    lines += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items()]
    body, note = _body(task)
    lines += body
    lines.append(shlex.quote(task.target_url))
    return (f"# {note}\n" if note else "") + " \\\n  ".join(lines)


def _body(task: NotificationTask) -> tuple[list[str], str]:
    if task.body is None:
        return [], ""
    if task.body_sealed:
        return ["--data-binary @body"], "The body is sealed: put it into the file body."
    raw = bytes(task.body)
    if len(raw) > BODY_BYTES:
        return [
            "--data-binary @body"
        ], f"The body of {len(raw):,} bytes is too long to stand here: put it into the file body."
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return ["--data-binary @body"], "The body is binary: put it into the file body."
    if any(not (character.isprintable() or character in "\t\r\n") for character in text):
        # A terminal would obey them when the command is pasted.
        return ["--data-binary @body"], "The body has control characters: put it into the file body."
    # Raw: a body that begins with @ would otherwise be the name of a file of whoever tries it.
    return [f"--data-raw {shlex.quote(text)}"], ""
