"""A partner tried out: the way of a delivery step by step, sending nothing; and when a policy would try again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextareaWidget

from notifier import clock, dry_run
from notifier.admin import show
from notifier.models import Partner
from notifier.policy import retry
from notifier.policy.destination import MAX_URL_LENGTH
from notifier.policy.explain import SHOWN_ATTEMPTS


class TrialForm(forms.Form):
    url = forms.CharField(
        label="Address",
        max_length=MAX_URL_LENGTH,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2, "spellcheck": "false"}),
        help_text="URL, allow-list, DNS, address, TCP, TLS and certificate are looked at. No request is sent.",
    )


def view(model_admin: Any, request: HttpRequest, partner: Partner) -> HttpResponse:
    """The form, and below it what the dry run found."""
    form = TrialForm(request.POST or None, initial={"url": _example(partner)})
    steps: list[dry_run.Step] = []
    if request.method == "POST" and form.is_valid():
        steps = list(dry_run.steps(form.cleaned_data["url"].strip(), partner, now=clock.now()))
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.model._meta,
        "title": f"Test the connection to {partner}",
        "original": partner,
        "form": form,
        "steps": [(show.badge("ok" if step.ok else "bad", step.name), step.found) for step in steps],
        "works": bool(steps) and steps[-1].ok,
    }
    return TemplateResponse(request, "admin/notifier/partner/trial.html", context)


def _example(partner: Partner) -> str:
    """The first entry of the allow-list as an address, where it can be one."""
    entry = next((str(entry) for entry in partner.allow_hosts if "*" not in str(entry)), "")
    return entry if not entry or "://" in entry else f"https://{entry}/"


def attempt_times(partner: Partner) -> SafeString:
    """When each attempt of the policy would come, counted from the first, if each failed at once."""
    low = high = 0.0
    end = partner.max_age_hours * 3600
    times = [("1", "at once")]
    for failures in range(1, min(partner.max_attempts, SHOWN_ATTEMPTS)):
        shortest, longest = retry.delay_range(partner.retry_policy, failures)
        low, high = low + shortest, high + longest
        if low >= end:
            times.append((str(failures + 1), f"not any more: the maximum age of {_span(end)} is over"))
            break
        times.append(
            (str(failures + 1), f"after {_span(low)}" + ("" if low == high else f" to {_span(min(high, end))}"))
        )
    rows = format_html_join("", "<tr><td>{}</td><td>{}</td></tr>", times)
    more = f"and {partner.max_attempts - SHOWN_ATTEMPTS} more" if partner.max_attempts > SHOWN_ATTEMPTS else ""
    return format_html(
        '<table class="ntf-attempt-times"><tr><th>attempt</th><th>comes</th></tr>{}</table><div class="ntf-note">{}</div>',
        rows,
        more,
    )


def _span(seconds: float) -> str:
    """``1:02:03``, with days where there are some."""
    return f"{seconds:.3g} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))
