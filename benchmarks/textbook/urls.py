from __future__ import annotations

from django.urls import path

from benchmarks.textbook.views import NotifyView

urlpatterns = [path("notify", NotifyView.as_view())]
