from django.urls import path

from notifier.api import views

urlpatterns = [
    path("notify", views.NotifyView.as_view()),
    path("notify/<str:task_id>", views.TaskView.as_view()),
    path("notify/<str:task_id>/attempts", views.AttemptsView.as_view()),
    path("notify/<str:task_id>/cancel", views.CancelView.as_view()),
    path("notify/<str:task_id>/requeue", views.RequeueView.as_view()),
]
