"""All addresses."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from notifier.api import health
from notifier.api import urls as api
from notifier.metrics import metrics

urlpatterns = [
    # First, and not within each other: they are asked most.
    *api.urlpatterns,
    path("", health.index),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", metrics),
    path("v1/schema", SpectacularAPIView.as_view(), name="schema"),
    path("v1/docs", SpectacularSwaggerSplitView.as_view(url_name="schema", template_name="notifier/docs.html")),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
]

handler400 = "notifier.api.errors.bad_request"
handler403 = "notifier.api.errors.permission_denied"
handler404 = "notifier.api.errors.not_found"
handler500 = "notifier.api.errors.server_error"
