"""What partners look like in the OpenAPI document."""

from __future__ import annotations

from rest_framework import serializers

from notifier import models


class RetryPolicy(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    base_seconds = serializers.FloatField()
    factor = serializers.FloatField()
    max_seconds = serializers.FloatField()
    max_attempts = serializers.IntegerField()
    jitter = serializers.ChoiceField(choices=models.Partner.JitterKind.choices)
    schedule = serializers.ListField(child=serializers.FloatField(), allow_null=True)


class CircuitPolicy(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    failure_ratio = serializers.FloatField(allow_null=True)
    min_attempts = serializers.IntegerField()
    window_seconds = serializers.FloatField()
    pause_seconds = serializers.FloatField()
    max_pause_seconds = serializers.FloatField()


class PartnerConfiguration(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    name = serializers.CharField(allow_blank=True)
    enabled = serializers.BooleanField()
    allow_hosts = serializers.ListField(child=serializers.CharField())
    allow_private_cidrs = serializers.ListField(child=serializers.CharField())
    timeout_seconds = serializers.FloatField()
    connect_timeout_seconds = serializers.FloatField()
    retry = RetryPolicy()
    permanent_statuses = serializers.ListField(child=serializers.IntegerField())
    success_condition = serializers.CharField()
    max_age_hours = serializers.FloatField()
    headers = serializers.DictField(child=serializers.CharField())
    auth = serializers.DictField(child=serializers.CharField(), allow_null=True)
    signing_secrets = serializers.ListField(child=serializers.CharField())
    client_certificate = serializers.DictField(child=serializers.CharField(), allow_null=True)
    seal_bodies = serializers.BooleanField()
    rate_per_second = serializers.FloatField(allow_null=True)
    burst = serializers.IntegerField(allow_null=True)
    max_concurrency = serializers.IntegerField(allow_null=True)
    circuit = CircuitPolicy()


class Hold(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    until = serializers.DateTimeField()
    since = serializers.DateTimeField(allow_null=True)


class Circuit(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    state = serializers.ChoiceField(choices=models.PartnerState.CircuitState.choices)
    since = serializers.DateTimeField(allow_null=True)
    reason = serializers.CharField(allow_blank=True)
    next_probe_at = serializers.DateTimeField(allow_null=True)


class PartnerState(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    paused = serializers.BooleanField()
    paused_since = serializers.DateTimeField(allow_null=True)
    hold = Hold(allow_null=True)
    circuit = Circuit()


class Backlog(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    waiting = serializers.IntegerField()
    due = serializers.IntegerField()
    running = serializers.IntegerField()
    dead = serializers.IntegerField()
    lower_bounds = serializers.ListField(child=serializers.ChoiceField(choices=["waiting", "due", "dead"]))


class Partner(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    partner_id = serializers.CharField()
    configuration = PartnerConfiguration()
    state = PartnerState()
    backlog = Backlog()
    oldest_waiting_seconds = serializers.FloatField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class PartnerPage(serializers.Serializer):  # type: ignore[type-arg]  # the stubs' generics do not exist at run time
    results = Partner(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
