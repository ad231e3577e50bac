"""Every change of a task's status, one function a transition; docs/states.md has the table.

Each names the state it expects in its WHERE clause and answers with what it moved, so that of two who want
the same task one wins and the other knows it lost.
"""

from notifier.lifecycle.accept import NewTask, accept, needs_transaction
from notifier.lifecycle.bury import bury_unusable
from notifier.lifecycle.claim import Claim, claim, give_back, in_flight
from notifier.lifecycle.end import cancel, expire
from notifier.lifecycle.prune import Pruned, prune
from notifier.lifecycle.record import LeaseLost, Result, record, record_held, release_expired
from notifier.lifecycle.requeue import requeue, requeue_many

__all__ = [
    "Claim",
    "LeaseLost",
    "NewTask",
    "Pruned",
    "Result",
    "accept",
    "bury_unusable",
    "cancel",
    "claim",
    "expire",
    "give_back",
    "in_flight",
    "needs_transaction",
    "prune",
    "record",
    "record_held",
    "release_expired",
    "requeue",
    "requeue_many",
]
