"""The form of a partner's configuration: lists as lines, headers masked, and the rules of ``notifier.partners``."""

from __future__ import annotations

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError

from notifier import partners
from notifier.admin.fields import HeaderLines, Json, Lines, Numbers, as_sentences


class PartnerForm(forms.ModelForm):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    allow_hosts = Lines(
        help_text="One a line: host, *.suffix or *, with an optional https:// or http:// before it, :port or :*, and /path. "
        "Without a port: 80 and 443. Empty: nothing may be sent."
    )
    allow_private_cidrs = Lines(
        help_text="Address ranges that are not public but may be connected to, one a line, like 10.1.0.0/16."
    )
    headers = HeaderLines(
        rows=5,
        help_text="Sent with every notification, one a line, as Name: value. A sensitive value is shown as ***; leave that to keep it.",
    )
    auth = Json(
        rows=4,
        help_text='{"type": "basic", "username": "…", "password": "name of a secret"}, or "oauth2_client_credentials" with token_url, '
        "client_id, client_secret (name of a secret) and, where asked for, scope, audience, client_auth. Empty: none.",
    )
    signing_secrets = Lines(
        help_text="Names of the secrets that sign (Standard Webhooks), one a line. Empty: not signed."
    )
    client_certificate = Json(
        rows=2,
        help_text='Mutual TLS: {"certificate": "name of a secret", "key": "name of a secret"}, both PEM. Empty: none.',
    )
    permanent_statuses = Numbers(
        whole=True,
        empty=[],
        help_text="Answers after which the same request is never tried again, with commas between them.",
    )
    retry_schedule = Numbers(
        whole=False,
        empty=None,
        help_text="Seconds to wait after the first failure, the second, …, with commas between them; instead of the backoff. "
        "The last one repeats. Empty: the backoff.",
    )

    class Meta:
        help_texts = {
            "enabled": "Off: its notifications are refused, and those accepted before wait.",
            "max_age_hours": "After this a notification that has not succeeded is dead, unless its producer says otherwise.",
            "success_condition": "CEL over status, headers, json and text.",
            "seal_bodies": "Encrypt the bodies of its notifications in the table, and keep nothing of its answers.",
            "rate_per_second": "The most requests in a second, of all workers together.",
            "burst": "How many may go at once after a silence; needs a rate. Empty: what one second allows, at least 1.",
            "max_concurrency": "The most requests in flight at once, of all workers together.",
            "circuit_failure_ratio": "From this share of failed attempts on the circuit opens, from 0.01 to 1. Empty: never by itself.",
            "circuit_min_attempts": "It does not open on fewer attempts than this.",
            "circuit_window_seconds": "How long an attempt counts: after this time it has about a third of its weight.",
            "circuit_pause_seconds": "How long it stays open before the first probe; twice as long after each probe that fails.",
            "circuit_max_pause_seconds": "The longest pause between probes.",
        }

    def clean_headers(self) -> dict[str, str]:
        return HeaderLines.unmasked(self.cleaned_data["headers"], self.instance.headers)

    def _post_clean(self) -> None:
        """Django's own checks, then the rules of ``notifier.partners``; each sentence stands at its field."""
        super()._post_clean()  # type: ignore[misc]  # the stubs leave out what Django documents in its source only
        try:
            partners.validate(self.instance)
        except ValidationError as error:
            # The table's constraints, which these sentences are stricter than, name no field to stand at.
            self.errors.pop(NON_FIELD_ERRORS, None)
            for field, sentences in error.message_dict.items():
                if field not in self.fields:
                    self.add_error(None, as_sentences(f"{field}: {sentence}" for sentence in sentences))
                elif field not in self.errors:
                    self.add_error(field, as_sentences(sentences))
