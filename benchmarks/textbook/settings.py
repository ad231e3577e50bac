"""Database, broker and their options are those of the notifier in the same run."""

from __future__ import annotations

import os

import environ

_database = environ.Env.db_url_config(os.environ["DATABASE_URL"])
# Connections are kept, and READ COMMITTED is what the notifier uses.
_database["CONN_MAX_AGE"] = 600
_database["OPTIONS"] = {"charset": "utf8mb4", "isolation_level": "read committed"}
DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

SECRET_KEY = "only-for-benchmarks-" + "x" * 50
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
ROOT_URLCONF = "benchmarks.textbook.urls"
WSGI_APPLICATION = "benchmarks.textbook.wsgi.application"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "rest_framework", "benchmarks.textbook"]
# It gives answers their Content-Length. Sessions, CSRF and the like would only cost time here.
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
REST_FRAMEWORK = {
    # No key to check: the notifier checks one.
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "UNAUTHENTICATED_USER": None,
}

CELERY_BROKER_URL = os.environ["CELERY_BROKER_URL"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE = "textbook"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# Celery closes the database connection around each task; this keeps it.
CELERY_DB_REUSE_MAX = 1_000_000
