from django.urls import path

from notifier.api import batch, bulk_views, partner_views, views

urlpatterns = [
    path("v1/notify", views.NotifyView.as_view()),
    path("v1/notify/batch", batch.BatchView.as_view()),
    path("v1/notify/requeue", bulk_views.BulkRequeueView.as_view()),
    path("v1/notify/<str:task_id>", views.TaskView.as_view()),
    path("v1/notify/<str:task_id>/attempts", views.AttemptsView.as_view()),
    path("v1/notify/<str:task_id>/explain", views.ExplainView.as_view()),
    path("v1/notify/<str:task_id>/cancel", views.CancelView.as_view()),
    path("v1/notify/<str:task_id>/requeue", views.RequeueView.as_view()),
    path("v1/partners", partner_views.PartnersView.as_view()),
    path("v1/partners/<str:partner_id>", partner_views.PartnerView.as_view()),
    path("v1/partners/<str:partner_id>/pause", partner_views.PauseView.as_view()),
    path("v1/partners/<str:partner_id>/resume", partner_views.ResumeView.as_view()),
    path("v1/partners/<str:partner_id>/circuit/open", partner_views.OpenCircuitView.as_view()),
    path("v1/partners/<str:partner_id>/circuit/close", partner_views.CloseCircuitView.as_view()),
    path("v1/partners/<str:partner_id>/hold/release", partner_views.ReleaseHoldView.as_view()),
]
