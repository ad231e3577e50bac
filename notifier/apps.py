from django.apps import AppConfig


class NotifierConfig(AppConfig):
    name = "notifier"
    verbose_name = "Notifier"

    def ready(self) -> None:
        from notifier import checks  # noqa: F401, PLC0415 - registers the system checks once the apps are loaded
