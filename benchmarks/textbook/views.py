from __future__ import annotations

from typing import Any, ClassVar

from django.db import transaction
from rest_framework import generics, serializers

from benchmarks.textbook.models import Notification, Partner
from benchmarks.textbook.tasks import deliver


class NotificationSerializer(serializers.ModelSerializer):
    partner = serializers.SlugRelatedField(slug_field="name", queryset=Partner.objects.all())

    class Meta:
        model = Notification
        fields: ClassVar = ["id", "partner", "target_url", "method", "headers", "body", "status", "created_at"]
        read_only_fields: ClassVar = ["status"]


class NotifyView(generics.CreateAPIView):
    queryset = Notification.objects.all()
    serializer_class = NotificationSerializer

    def perform_create(self, serializer: Any) -> None:
        notification = serializer.save()
        transaction.on_commit(lambda: deliver.delay(notification.pk))
