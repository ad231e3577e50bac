"""All settings, read once from the environment. docs/settings.md lists them; a test holds the two together."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import certifi
from django.core.exceptions import ImproperlyConfigured

from config import logs
from config.database import patience
from config.environment import Environment
from notifier.listeners import endpoint
from notifier.policy.allow_list import check_deny_entry

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()

# --- What kind of run this is -------------------------------------------------------------------------------------
# The embedded run is `make run`: one machine, SQLite, a Valkey of its own, a demo partner and a demo key.
NOTIFIER_EMBEDDED = env.boolean("NOTIFIER_EMBEDDED", default=False)
NOTIFIER_DATA_DIR = env.path("NOTIFIER_DATA_DIR", default=BASE_DIR / "var")

NOTIFIER_DEMO_API_KEY_DEFAULT = "ntf_demo_only-for-the-embedded-run"
NOTIFIER_DEMO_API_KEY = env.text("NOTIFIER_DEMO_API_KEY", NOTIFIER_DEMO_API_KEY_DEFAULT if NOTIFIER_EMBEDDED else "")
if NOTIFIER_DEMO_API_KEY and not NOTIFIER_EMBEDDED:
    raise ImproperlyConfigured(
        "NOTIFIER_DEMO_API_KEY is for the embedded run (make run) only. Unset it, and make keys with "
        "`manage.py create_api_key NAME --scope notify:write`."
    )

DEBUG = False
SECRET_KEY = env.required(
    "NOTIFIER_SECRET_KEY",
    "It signs admin sessions: set it to 50 or more random characters, the same in every process "
    "(`make run` makes one for itself).",
)
ALLOWED_HOSTS = env.names_list("NOTIFIER_ALLOWED_HOSTS", default=("localhost", "127.0.0.1", "[::1]"))
CSRF_TRUSTED_ORIGINS = env.names_list("NOTIFIER_TRUSTED_ORIGINS")
# How many proxies in front of web write X-Forwarded-For: whose word is taken for where a request comes from.
NOTIFIER_PROXIES = env.integer("NOTIFIER_PROXIES", 0, minimum=0, maximum=10)
NOTIFIER_LOGIN_ATTEMPTS = env.integer("NOTIFIER_LOGIN_ATTEMPTS", 5, minimum=1, maximum=100)
NOTIFIER_LOGIN_PAUSE_SECONDS = env.integer("NOTIFIER_LOGIN_PAUSE_SECONDS", 900, minimum=1, maximum=86_400)

# --- Database: the truth ------------------------------------------------------------------------------------------
_database: dict[str, Any] = env.database("DATABASE_URL", default=f"sqlite:///{NOTIFIER_DATA_DIR}/notifier.sqlite3")
# Before a server without an answer is taken for gone: by workers and commands, and by web (config/wsgi.py).
NOTIFIER_DATABASE_TIMEOUT_SECONDS = env.seconds("NOTIFIER_DATABASE_TIMEOUT_SECONDS", 30, minimum=1, maximum=604_800)
NOTIFIER_WEB_DATABASE_TIMEOUT_SECONDS = env.seconds("NOTIFIER_WEB_DATABASE_TIMEOUT_SECONDS", 5, minimum=1, maximum=600)
_database["CONN_MAX_AGE"] = 60
_database["CONN_HEALTH_CHECKS"] = True
if _database["ENGINE"].endswith("sqlite3"):
    # Tests get a file too: SQLite in memory has one lock for a whole table, whoever holds it.
    _database["TEST"] = {"NAME": f"{_database['NAME']}.test"}
    _database["OPTIONS"] = {
        "timeout": 20,
        # A deferred transaction that turns into a writer fails at once with "database is locked"; an immediate one waits.
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
    }
else:
    _database["ENGINE"] = "config.mysql"
    _database["OPTIONS"] = {
        **_database.get("OPTIONS", {}),
        "charset": "utf8mb4",
        "isolation_level": "read committed",
        **patience(NOTIFIER_DATABASE_TIMEOUT_SECONDS),
    }
DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Broker: only a hint ------------------------------------------------------------------------------------------
CELERY_BROKER_URL = env.broker("CELERY_BROKER_URL", "redis://127.0.0.1:6379/0")
NOTIFIER_QUEUE = env.text("NOTIFIER_QUEUE", "notifier")

# --- Accepting ----------------------------------------------------------------------------------------------------
NOTIFIER_MAX_BODY_BYTES = env.integer("NOTIFIER_MAX_BODY_BYTES", 256 * 1024, minimum=1024, maximum=16 * 1024 * 1024)
# What one API key may hand over, where the key itself has no rate of its own.
NOTIFIER_ACCEPT_RATE_PER_SECOND = env.integer("NOTIFIER_ACCEPT_RATE_PER_SECOND", 10_000, minimum=1, maximum=1_000_000)
# The largest body of a batch.
NOTIFIER_MAX_BATCH_BYTES = env.integer(
    "NOTIFIER_MAX_BATCH_BYTES", 4 * 1024 * 1024, minimum=1024, maximum=64 * 1024 * 1024
)
# Fernet keys for sealed header values: the first encrypts, all decrypt. Empty: a key derived from NOTIFIER_SECRET_KEY.
NOTIFIER_SEALING_KEYS = env.fernet_keys("NOTIFIER_SEALING_KEYS")
NOTIFIER_SENSITIVE_HEADERS = env.names_list("NOTIFIER_SENSITIVE_HEADERS")

# --- Partners' secrets --------------------------------------------------------------------------------------------
NOTIFIER_SECRETS_BACKEND = env.text("NOTIFIER_SECRETS_BACKEND", "database")
NOTIFIER_SECRETS_DIR = env.text("NOTIFIER_SECRETS_DIR")
if NOTIFIER_SECRETS_BACKEND == "files" and not Path(NOTIFIER_SECRETS_DIR or "/nowhere").is_dir():
    raise ImproperlyConfigured(
        f"NOTIFIER_SECRETS_DIR={NOTIFIER_SECRETS_DIR!r} is not a folder; the backend files needs one."
    )
NOTIFIER_SECRETS = env.partner_secrets("NOTIFIER_SECRETS")
# How long a worker uses a secret that it has read.
NOTIFIER_SECRETS_CACHE_SECONDS = env.seconds("NOTIFIER_SECRETS_CACHE_SECONDS", 5, minimum=0, maximum=300)

# --- Delivering ---------------------------------------------------------------------------------------------------
NOTIFIER_ENGINE_SLOTS = env.integer("NOTIFIER_ENGINE_SLOTS", 1500, minimum=1, maximum=20_000)
# The longest total time-out that a partner may have.
NOTIFIER_MAX_TIMEOUT_SECONDS = env.seconds("NOTIFIER_MAX_TIMEOUT_SECONDS", 30, minimum=0.1, maximum=600)
# Must outlive the longest request by a margin; `manage.py check` compares the two (deliveries.E001).
NOTIFIER_LEASE_SECONDS = env.seconds("NOTIFIER_LEASE_SECONDS", 60, minimum=1, maximum=3600)
NOTIFIER_DRAIN_SECONDS = env.seconds("NOTIFIER_DRAIN_SECONDS", 35, minimum=0, maximum=3600)
# How much of a response is read, for success conditions, and how much of that an attempt keeps.
NOTIFIER_RESPONSE_READ_BYTES = env.integer("NOTIFIER_RESPONSE_READ_BYTES", 65_536, minimum=0, maximum=1_048_576)
NOTIFIER_RESPONSE_KEEP_BYTES = env.integer("NOTIFIER_RESPONSE_KEEP_BYTES", 2_048, minimum=0, maximum=16_384)
NOTIFIER_CA_FILE = env.file("NOTIFIER_CA_FILE", certifi.where())
env.names["NOTIFIER_CA_FILE"] = "certifi's bundle"
# Whom no partner may be sent anything, whatever its own lists say.
NOTIFIER_DENY_HOSTS = env.checked_list("NOTIFIER_DENY_HOSTS", check_deny_entry)
NOTIFIER_DENY_CIDRS = env.checked_list("NOTIFIER_DENY_CIDRS", ip_network)
# Where the service listens besides the database and the broker: no partner's ranges open these.
NOTIFIER_OWN_LISTENERS = env.checked_list(
    "NOTIFIER_OWN_LISTENERS", endpoint, default=("localhost:8000", "localhost:5555")
)
NOTIFIER_EGRESS_PROXY = env.proxy("NOTIFIER_EGRESS_PROXY")
# The longest hold that a partner's Retry-After may ask for.
NOTIFIER_MAX_HOLD_SECONDS = env.seconds("NOTIFIER_MAX_HOLD_SECONDS", 3600, minimum=1, maximum=7 * 24 * 3600)
NOTIFIER_SWEEP_SECONDS = env.seconds("NOTIFIER_SWEEP_SECONDS", 1.0, minimum=0.1, maximum=60)

# --- Keeping ------------------------------------------------------------------------------------------------------
# In days since it ended; what waits or runs is kept whatever its age. An idempotency key lives as long as its notification.
NOTIFIER_KEEP_SUCCEEDED_DAYS = env.integer("NOTIFIER_KEEP_SUCCEEDED_DAYS", 30, minimum=1, maximum=36_500)
NOTIFIER_KEEP_CANCELLED_DAYS = env.integer("NOTIFIER_KEEP_CANCELLED_DAYS", 30, minimum=1, maximum=36_500)
NOTIFIER_KEEP_DEAD_DAYS = env.integer("NOTIFIER_KEEP_DEAD_DAYS", 90, minimum=1, maximum=36_500)

# --- Watching -----------------------------------------------------------------------------------------------------
# Where worker and beat answer scrapes; 0: nowhere. Web has /metrics.
NOTIFIER_METRICS_ADDRESS = env.text("NOTIFIER_METRICS_ADDRESS", "127.0.0.1")
NOTIFIER_WORKER_METRICS_PORT = env.integer("NOTIFIER_WORKER_METRICS_PORT", 0, minimum=0, maximum=65_535)
NOTIFIER_BEAT_METRICS_PORT = env.integer("NOTIFIER_BEAT_METRICS_PORT", 0, minimum=0, maximum=65_535)
# What the database is asked for metrics is asked once in this time, however many scrape.
NOTIFIER_METRICS_SECONDS = env.seconds("NOTIFIER_METRICS_SECONDS", 10, minimum=0, maximum=600)
# So many partners have metrics by their names; the others are together.
NOTIFIER_METRICS_PARTNERS = env.integer("NOTIFIER_METRICS_PARTNERS", 50, minimum=0, maximum=1000)
# Read by prometheus_client itself, where web has several granian workers.
PROMETHEUS_MULTIPROC_DIR = env.text("PROMETHEUS_MULTIPROC_DIR")

# OpenTelemetry's own variables; its SDK reads the others (headers, sampler, time-outs) itself.
OTEL_EXPORTER_OTLP_ENDPOINT = env.text("OTEL_EXPORTER_OTLP_ENDPOINT")
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT = env.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
OTEL_TRACES_EXPORTER = env.text("OTEL_TRACES_EXPORTER", "otlp", choices=("otlp", "none"))
OTEL_SERVICE_NAME = env.text("OTEL_SERVICE_NAME")
OTEL_SDK_DISABLED = env.boolean("OTEL_SDK_DISABLED", default=False)

# --- Django -------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django_prometheus",
    # Before Django's admin, whose site and templates it replaces.
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "axes",
    "csp",
    "notifier",
    "deliveries",
]
MIDDLEWARE = [
    # Before whatever may answer by itself: they see every answer.
    "config.measured.Requests",
    "config.pages.ContentPolicy",
    "notifier.admin.content_policy.ThemePolicy",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "notifier.api.middleware.ProblemMiddleware",
    "config.pages.Files",
    "config.pages.Sessions",
    "django.middleware.common.CommonMiddleware",
    "config.pages.Forgery",
    "config.pages.Users",
    "config.pages.Messages",
    "config.pages.Lockouts",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
# The admin's login: so many failures of one name from one address, and that pair waits. Not the name alone, or anybody
# could lock an operator out.
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = NOTIFIER_LOGIN_ATTEMPTS
AXES_COOLOFF_TIME = timedelta(seconds=NOTIFIER_LOGIN_PAUSE_SECONDS)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "notifier.client_address.client_address"
AXES_HTTP_RESPONSE_CODE = 429
# After a login at its own address; Django's default is a page that is not there.
LOGIN_REDIRECT_URL = "admin:index"
AXES_LOCKOUT_CALLABLE = "notifier.admin.login.locked_out"
AXES_RESET_ON_SUCCESS = True
AXES_ENABLE_ADMIN = False
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
USE_I18N = False
STATIC_URL = "/static/"
UNFOLD = {
    "SITE_TITLE": "Notifier",
    "SITE_HEADER": "Notifier",
    "SITE_SYMBOL": "outgoing_mail",
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "4px",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": f"{STATIC_URL}notifier/favicon.svg"}],
    "DASHBOARD_CALLBACK": "notifier.admin.dashboard.context",
    "SIDEBAR": {"navigation": "notifier.admin.navigation.items"},
}
WHITENOISE_USE_FINDERS = True
DATA_UPLOAD_MAX_MEMORY_SIZE = NOTIFIER_MAX_BODY_BYTES

# Everything but the embedded run is behind TLS: cookies travel only there.
NOTIFIER_TLS = env.boolean("NOTIFIER_TLS", default=not NOTIFIER_EMBEDDED)
SESSION_COOKIE_SECURE = NOTIFIER_TLS
CSRF_COOKIE_SECURE = NOTIFIER_TLS
SECURE_SSL_REDIRECT = False
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# Everything that a page loads is our own; a page that needs more says so itself.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
SECURE_HSTS_SECONDS = 31_536_000 if NOTIFIER_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = NOTIFIER_TLS
SECURE_HSTS_PRELOAD = NOTIFIER_TLS
SILENCED_SYSTEM_CHECKS = [
    "security.W008",  # TLS ends at the proxy in front, which does the redirect
    "axes.W002",  # its middleware is config.pages.Lockouts
    "security.W003",  # its middleware is config.pages.Forgery
]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["notifier.api.auth.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["notifier.api.auth.HasScope"],
    "DEFAULT_PARSER_CLASSES": ["notifier.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["notifier.api.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "notifier.api.parsers.AlwaysJSON",
    "EXCEPTION_HANDLER": "notifier.api.errors.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "notifier",
    "DESCRIPTION": "Hand over a notification once; from then on it arrives.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {
        "TaskStatus": "notifier.models.task.Status",
        "AttemptStatus": "notifier.models.attempt.AttemptStatus",
    },
}

NOTIFIER_LOG_LEVEL = env.text("NOTIFIER_LOG_LEVEL", "INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
# JSON for machines, text for people; auto: text where standard error is a terminal.
NOTIFIER_LOG_FORMAT = env.text("NOTIFIER_LOG_FORMAT", logs.AUTO, choices=(logs.AUTO, logs.JSON, logs.TEXT))
# A line for each attempt, for those that failed, or for none; and of those that succeeded one in so many.
NOTIFIER_LOG_DELIVERIES = env.text("NOTIFIER_LOG_DELIVERIES", "all", choices=("all", "failed", "none"))
NOTIFIER_LOG_DELIVERIES_SAMPLE = env.integer("NOTIFIER_LOG_DELIVERIES_SAMPLE", 1, minimum=1, maximum=1_000_000)
NOTIFIER_LOG_ACCESS = env.boolean("NOTIFIER_LOG_ACCESS", default=True)
LOGGING = logs.logging_config(NOTIFIER_LOG_FORMAT, NOTIFIER_LOG_LEVEL)
