"""What becomes of a task whose handling raised: the notifier's own failure with this one task, or with its data."""

from __future__ import annotations

from datetime import datetime, timedelta

from notifier.policy.retry import Dead, DeadReason, Decision, RetryAt

# With the waits of 2 s and 4 s between them, 6 s in all: a worker that was just being replaced is not the end of a task.
POISON_TRIES = 3


def decide(*, tries: int, attempts_used: int, max_attempts: int, now: datetime) -> Decision:
    """Again after 2 s, 4 s; dead (rejected) once its handling raised ``POISON_TRIES`` times or it has no attempts left.

    Only failures of this kind count as ``tries``: a task that its partner refused twice gets as many as any other.
    """
    if tries >= POISON_TRIES or attempts_used >= max_attempts:
        return Dead(DeadReason.REJECTED)
    return RetryAt(now + timedelta(seconds=2**tries))


def message(error: BaseException) -> str:
    """What may be said of the error: its kind. Its text may hold what must not be shown."""
    return f"The notifier could not handle this task: {type(error).__name__}."
