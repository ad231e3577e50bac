"""The ledgers and the tables compared: everything that was promised and did not come true, by its kind."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos import duplicates, limits
from tests.chaos.duplicates import Duplicate
from tests.chaos.ledger import Fault, Limit, Post, Request, Task

KINDS = ("lost", "invented", "wrong", "stuck", "holes", "limits", "unexplained", "other")
FINISHED = ("succeeded", "dead")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that is known after a run whose faults are over and whose drain has ended."""

    posts: Sequence[Post]
    requests: Sequence[Request]
    tasks: Sequence[Task]
    faults: Sequence[Fault]
    # The kinds of faults that can keep a worker from recording an answer.
    losing: Collection[str]
    limits: Mapping[str, Limit]
    lease_seconds: float
    timeout_seconds: float


@dataclass(slots=True)
class Verdict:
    """``breaches`` has a sentence for each breach, by its kind; a run without any has passed."""

    accepted: int = 0
    delivered: int = 0
    # Notifications that exist though no post of theirs was answered 202: the answer was lost, the promise never made.
    unacknowledged: int = 0
    duplicates: list[Duplicate] = field(default_factory=list)
    breaches: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    @property
    def passed(self) -> bool:
        return not any(self.breaches.values())


def compare(evidence: Evidence) -> Verdict:
    """Hold what the system says and what the receiver saw against what was promised."""
    return _Comparison(evidence).verdict


class _Comparison:
    def __init__(self, evidence: Evidence) -> None:
        self.verdict = Verdict()
        self._evidence = evidence
        self._tasks = {task.id: task for task in evidence.tasks}
        self._posts = {post.path: post for post in evidence.posts}
        self._promised = {post.task_id for post in evidence.posts if post.task_id is not None}
        self._requests: dict[str, list[Request]] = defaultdict(list)
        for request in sorted(evidence.requests, key=lambda request: request.arrived):
            self._requests[request.id].append(request)
        self._succeeded = {request.id for request in evidence.requests if request.success}
        for post in evidence.posts:
            self._promise(post)
        rows = Counter(task.path for task in evidence.tasks)
        for task in evidence.tasks:
            self._origin(task, rows[task.path])
            self._end(task)
            self._history(task)
        for webhook_id, requests in self._requests.items():
            self._received(webhook_id, requests)
        for limit in evidence.limits.values():
            mine = [request for request in evidence.requests if request.partner == limit.partner]
            for breach in limits.exceeded(limit, mine, lease_seconds=evidence.lease_seconds):
                self._breach("limits", breach)
        self._duplicates()

    def _breach(self, kind: str, sentence: str) -> None:
        self.verdict.breaches[kind].append(sentence)

    def _promise(self, post: Post) -> None:
        """A 202 is a row, which has its partner's success and knows it. What the row says for itself is in ``_end``."""
        for answer in post.odd:
            self._breach("other", f"post {post.serial} was answered {answer}")
        if post.task_id is None:
            if post.key is not None:
                self._breach("other", f"post {post.serial} was never accepted, faults or not")
            return
        self.verdict.accepted += 1
        task = self._tasks.get(post.task_id)
        if task is None:
            self._breach("lost", f"{post.task_id} (post {post.serial}) was accepted and has no row")
        elif task.path != post.path:
            self._breach("wrong", f"{post.task_id} was the answer to post {post.serial}, and is {task.path}")
        elif task.status == "succeeded" and task.id in self._succeeded:
            self.verdict.delivered += 1

    def _origin(self, task: Task, rows: int) -> None:
        """A row is somebody's post, and the only one of it."""
        post = self._posts.get(task.path)
        if post is None:
            self._breach("invented", f"{task.id} is a row that nobody posted ({task.path})")
        elif task.id in self._promised:
            return
        elif rows > 1:
            self._breach(
                "invented", f"{task.id} is one of {rows} rows of post {post.serial}, which is one notification"
            )
        elif post.task_id is None and (post.lost or post.unavailable):
            self.verdict.unacknowledged += 1
        else:
            self._breach("invented", f"{task.id} exists though no post of {post.serial} could have made it")

    def _end(self, task: Task) -> None:
        """A row has ended well, and its partner agrees: a notification that exists is delivered, whoever knows of it."""
        state = task.status if task.dead_reason is None else f"{task.status} ({task.dead_reason})"
        if task.status not in FINISHED:
            self._breach("stuck", f"{task.id} is {state} after the drain")
        elif task.id not in self._succeeded:
            self._breach("lost", f"{task.id} is {state}, and its partner never answered with success")
        elif task.status != "succeeded":
            self._breach("lost", f"{task.id} is {state}, and its partner had answered with success")

    def _history(self, task: Task) -> None:
        """Attempts are numbered without a gap, and whatever was received is among them."""
        numbers = [attempt.number for attempt in task.attempts]
        if numbers != list(range(1, len(numbers) + 1)):
            self._breach("holes", f"{task.id} has the attempts {numbers}")
        elif len(numbers) != task.attempt_count:
            self._breach("holes", f"{task.id} counts {task.attempt_count} attempts and has {len(numbers)}")
        elif missing := {request.attempt for request in self._requests.get(task.id, ())} - set(numbers):
            self._breach("holes", f"{task.id} was received as attempt {sorted(missing)}, unknown to its history")

    def _received(self, webhook_id: str, requests: Sequence[Request]) -> None:
        """What arrived is what was posted: method, path with query, body, and at the right partner."""
        task = self._tasks.get(webhook_id)
        if task is None:
            self._breach("invented", f"{webhook_id} was received {len(requests)} times and exists nowhere")
            return
        post = self._posts.get(task.path)
        for seen in requests:
            for name in ("method", "path", "sha", "partner"):
                if post is not None and getattr(seen, name) != getattr(post, name):
                    self._breach("wrong", f"{webhook_id}, attempt {seen.attempt}, arrived with another {name}")

    def _duplicates(self) -> None:
        evidence = self._evidence
        culprits = [fault for fault in evidence.faults if fault.kind in evidence.losing]
        for webhook_id, requests in self._requests.items():
            task = self._tasks.get(webhook_id)
            if len(requests) > 1 and task is not None:
                found = duplicates.find(requests, task, culprits, timeout_seconds=evidence.timeout_seconds)
                self.verdict.duplicates += found
        for duplicate in self.verdict.duplicates:
            if duplicate.why is None:
                self._breach("unexplained", duplicate.sentence)
