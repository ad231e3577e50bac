"""What needs a secret on its way: signed, authenticated, and with references resolved, without making others wait.

What is known is used at once, in the claimer's thread. What must be got first, from the store of secrets or from a token
endpoint, is got by a station of its own and by the engine: a slow store or endpoint delays only those who need it.
"""

from __future__ import annotations

import logging
import math
import queue
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from django.conf import settings
from django.db import InterfaceError, OperationalError

from deliveries import authenticated
from deliveries.access_tokens import AccessToken, NoToken, read_token, token_request
from deliveries.authenticated import CannotAuthenticate, Secrets
from deliveries.sending import Opened, Sending, limits, without_credentials
from deliveries.station import Station
from deliveries.transport.engine import Engine
from deliveries.transport.request import Outgoing
from deliveries.transport.transfer import Settled, Then
from notifier import gate, sealing
from notifier.policy import destination, partner_auth
from notifier.policy.exchange import Exchange
from notifier.policy.partner_auth import ClientCredentials
from notifier.secret_store import Backend, Unavailable

logger = logging.getLogger(__name__)

# A token endpoint that failed is not asked again for so long; who needs a token meanwhile fails as the last one did.
ENDPOINT_PAUSE_SECONDS = 2.0
# A partner that answers 401 to a token so young would answer so to its successor.
YOUNGEST_REFUSED_SECONDS = 5.0

Key = tuple[str, ClientCredentials]


@dataclass(slots=True, eq=False)
class _Job:
    """One sending that needs secrets; ``then`` is for its sender."""

    sending: Sending
    opened: Opened
    now: datetime
    names: frozenset[str]
    client: ClientCredentials | None
    then: Then
    # The partner's 401, after which it is sent once more with a new token.
    refused: Exchange | None = None

    @property
    def partner_id(self) -> str:
        return str(self.sending.partner.partner_id)


@dataclass(frozen=True, slots=True)
class _Read:
    at: float
    values: Secrets = field(repr=False)
    # Of these, those that are missing from ``values`` do not exist.
    names: frozenset[str]


class Credentials:
    """Sends requests that need secrets. ``send`` may be called from any thread; the rest is the station's own.

    Nothing survives a restart: values and tokens are in this process's memory alone. Of jobs that wait when the process
    ends the leases run out, like those of requests in flight.
    """

    def __init__(self, engine: Engine, backend: Backend, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._backend = backend
        self._clock = clock
        self._cache_seconds: float = settings.NOTIFIER_SECRETS_CACHE_SECONDS
        # Read by any thread, changed by the station's alone.
        self._read: dict[str, _Read] = {}
        self._tokens: dict[Key, AccessToken] = {}
        self._waiting: defaultdict[Key, list[_Job]] = defaultdict(list)
        self._asking: set[Key] = set()
        self._failed: dict[Key, tuple[float, str]] = {}
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._undone: Callable[[], None] | None = None
        self.station = Station("credentials", self._work)

    def send(self, sending: Sending, opened: Opened, then: Then, *, now: datetime) -> None:
        """Hand the request to the engine as soon as it can be built. ``then`` gets the Exchange, or a failure
        ``credentials_unavailable`` that says what is missing."""
        job = _Job(sending, opened, now, *_needs(sending, opened), then)
        values = self._known(job)
        token = self._tokens.get((job.partner_id, job.client)) if job.client and values else None
        if values is None or (job.client and not self._usable(token, job.client, values)):
            self._inbox.put(partial(self._handle, job))
        else:
            self._submit(job, values, token)

    def stop(self) -> None:
        """End the station; what waits in it stays open."""
        self._inbox.put(None)

    # --- what is known ---

    def _known(self, job: _Job) -> Secrets | None:
        if not job.names:
            return {}
        read = self._read.get(job.partner_id)
        fresh = read is not None and self._clock() < read.at + self._cache_seconds and job.names <= read.names
        return read.values if read is not None and fresh else None

    def _usable(self, token: AccessToken | None, client: ClientCredentials, values: Secrets) -> bool:
        secret = values.get(client.client_secret)
        return token is not None and self._clock() < token.ends_at and secret is not None and secret[0] == token.secret

    def _submit(self, job: _Job, values: Secrets, token: AccessToken | None) -> None:
        """Build and send. What keeps it from being built is the job's own failure."""
        try:
            value = None if token is None else token.value
            request = authenticated.outgoing(job.sending, job.opened, values, value, now=job.now)
        except (CannotAuthenticate, sealing.UnknownKey) as error:
            job.then(without_credentials(str(error)))
            return
        except Exception as error:  # noqa: BLE001 - one row's request cannot be built: its own failure, not the batch's
            job.then(error)
            return
        self._engine.send(request, partial(self._came_back, job, token), sender=job.partner_id)
        if token is not None and job.client is not None and self._clock() >= token.refresh_at:
            self._inbox.put(partial(self._ask, job, values))

    def _came_back(self, job: _Job, token: AccessToken | None, settled: Settled) -> None:
        """In the engine's thread."""
        if (
            isinstance(settled, Exception)
            or settled.status != 401
            or token is None
            or job.refused is not None
            or self._clock() - token.asked_at < YOUNGEST_REFUSED_SECONDS
        ):
            job.then(settled)
        else:
            job.refused = settled
            self._inbox.put(partial(self._again, job, token))

    # --- the station's thread ---

    def _work(self) -> bool:
        """One thing. While the database is away it raises, and takes the same up again when it is called next."""
        if self._undone is None:
            self._undone = self._inbox.get()
        if self._undone is None:
            return False
        self._undone()
        self._undone = None
        return True

    def _handle(self, job: _Job) -> None:
        values = self._known(job)
        if values is None:
            try:
                values = self._fetch(job.partner_id, job.names)
            except (Unavailable, sealing.SealBroken) as error:
                self._fail([job], f"the store of secrets cannot be used: {error}")
                return
            except (OperationalError, InterfaceError):
                raise  # the station waits for the database, and this is taken up again
            except Exception as error:  # noqa: BLE001 - a backend of somebody's own: the failure of those who need it
                # Its text is the backend's, and may hold anything.
                self._fail([job], f"the store of secrets failed with {type(error).__name__}")
                return
        if job.client is None:
            self._submit(job, values, None)
            return
        key = (job.partner_id, job.client)
        token = self._tokens.get(key)
        if self._usable(token, job.client, values):
            self._submit(job, values, token)
            return
        self._waiting[key].append(job)
        self._ask(job, values)

    def _fetch(self, partner_id: str, names: frozenset[str]) -> Secrets:
        """Ask the store for these, and for what others of the partner's needed while that is still fresh."""
        now = self._clock()
        before = self._read.get(partner_id)
        if before is not None and now < before.at + self._cache_seconds:
            names |= before.names
        self._read = {key: read for key, read in self._read.items() if now < read.at + self._cache_seconds}
        values = self._backend.values(partner_id, names)
        self._read[partner_id] = _Read(now, values, names)
        return values

    def _again(self, job: _Job, token: AccessToken) -> None:
        """The partner refused the token. Unless it was replaced meanwhile, it is given up; the job goes once more."""
        if job.client is not None and self._tokens.get((job.partner_id, job.client)) is token:
            del self._tokens[job.partner_id, job.client]
        self._handle(job)

    def _ask(self, job: _Job, values: Secrets) -> None:
        """See to it that the token endpoint is asked, once for all who wait."""
        if job.client is None:
            return
        key = (job.partner_id, job.client)
        if key in self._asking:
            return
        failed_at, why = self._failed.get(key, (float("-inf"), ""))
        if self._clock() < failed_at + ENDPOINT_PAUSE_SECONDS:
            self._fail(self._waiting.pop(key, []), why)
            return
        secret = values.get(job.client.client_secret)
        if secret is None:
            self._give_up(key, f"the secret {job.client.client_secret!r} does not exist")
            return
        where = destination.target(job.client.token_url)
        if (refusal := gate.host_refusal(where, job.sending.partner)) is not None:
            self._give_up(key, f"the token endpoint: {refusal.message}")
            return
        self._asking.add(key)
        # Not the delivery's own limit: others wait for this token too.
        allowed = replace(limits(job.sending), begin_before=math.inf)
        request = Outgoing(token_request(job.client, secret[0]), allowed)
        arrived = partial(self._token_arrived, key, secret[0], self._clock())
        self._engine.send(request, lambda settled: self._inbox.put(partial(arrived, settled)), sender=job.partner_id)

    def _token_arrived(self, key: Key, secret: str, asked_at: float, settled: Settled) -> None:
        self._asking.discard(key)
        try:
            if isinstance(settled, Exception):
                raise settled
            token = read_token(settled, secret=secret, asked_at=asked_at)
        except NoToken as error:
            self._give_up(key, str(error))
            return
        except Exception as error:  # noqa: BLE001 - this partner's endpoint: nobody else's failure
            self._give_up(key, f"the request for a token could not be made ({type(error).__name__})")
            return
        now = self._clock()
        self._tokens = {known: kept for known, kept in self._tokens.items() if now < kept.ends_at} | {key: token}
        self._failed.pop(key, None)
        for job in self._waiting.pop(key, []):
            values = self._known(job)
            if values is None:
                self._inbox.put(partial(self._handle, job))
            else:
                self._submit(job, values, token)

    def _give_up(self, key: Key, why: str) -> None:
        """No token now. One that is still good stays in use, so a failed refresh harms nobody."""
        now = self._clock()
        self._failed = {
            known: entry for known, entry in self._failed.items() if now < entry[0] + ENDPOINT_PAUSE_SECONDS
        }
        self._failed[key] = (now, f"no access token: {why}")
        logger.warning("partner %s has no new access token: %s", key[0], why)
        self._fail(self._waiting.pop(key, []), f"no access token: {why}")

    @staticmethod
    def _fail(jobs: Collection[_Job], why: str) -> None:
        for job in jobs:
            job.then(job.refused or without_credentials(why))


def _needs(sending: Sending, opened: Opened) -> tuple[frozenset[str], ClientCredentials | None]:
    """The secrets that a request needs, and the client whose token it needs, if any."""
    partner = sending.partner
    auth = partner_auth.auth(partner.auth) if authenticated.by_partner(opened) else None
    certificate = partner_auth.client_certificate(partner.client_certificate)
    names = opened.named | set(partner.signing_secrets) | set(partner_auth.secrets_of(auth))
    if certificate is not None:
        names |= {certificate.certificate, certificate.key}
    return frozenset(names), auth if isinstance(auth, ClientCredentials) else None
