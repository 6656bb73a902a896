"""Settings of the demonstration project.

What differs between machines comes from the environment: ``REDIS_URL``, ``REDIS_CERT_REQS``, ``POSTGRES_DSN``,
``SECRET_KEY``, ``DEBUG``, ``ALLOWED_HOSTS``, ``DATABASE_PATH`` and ``CHANNEL_FILE``. Without any of them it runs on a
laptop, with nothing to install.
"""

from __future__ import annotations

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = os.environ.get("DEBUG", "1").lower() in ("1", "true", "yes", "on")

SECRET_KEY = os.environ.get("SECRET_KEY", "for-development-only-on-your-own-machine" if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured("DEBUG is off and SECRET_KEY is not set: put a long random text into the environment.")

# Empty means localhost while DEBUG is on, and nobody while it is off.
ALLOWED_HOSTS = [host.strip() for host in os.environ.get("ALLOWED_HOSTS", "").split(",") if host.strip()]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "channels",
    "channels.dashboard",
    "demo.chat",
    "demo.prices",
    "demo.documents",
    "demo.whiteboard",
    "demo.processes",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "demo.urls"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "demo" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DATABASE_PATH", BASE_DIR / "demo.sqlite3"),
        # Several workers write to the one file; each waits for its turn.
        "OPTIONS": {"timeout": 20},
    },
}

# Connections that no route of the channel layer takes, as a project for Channels 4 says it.
ASGI_APPLICATION = "demo.asgi.application"

# Messages travel through Redis, PostgreSQL or RabbitMQ where there is one, else through a file in shared memory.
if os.environ.get("REDIS_URL"):
    redis = {"address": os.environ["REDIS_URL"]}
    # "none" for a server with a self-signed certificate, as Heroku's are.
    if os.environ.get("REDIS_CERT_REQS"):
        redis["ssl_cert_reqs"] = os.environ["REDIS_CERT_REQS"]
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channel_layer.redis.RedisChannelLayer",
            "CONFIG": {"hosts": [redis]},
            "ROUTING": "demo.routing.channel_routing",
        },
    }
elif os.environ.get("POSTGRES_DSN"):
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channel_layer.postgres.PostgresChannelLayer",
            "CONFIG": {"dsn": os.environ["POSTGRES_DSN"]},
            "ROUTING": "demo.routing.channel_routing",
        },
    }
elif os.environ.get("RABBITMQ_URL"):
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channel_layer.rabbitmq.RabbitmqChannelLayer",
            "CONFIG": {"url": os.environ["RABBITMQ_URL"]},
            "ROUTING": "demo.routing.channel_routing",
        },
    }
else:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channel_layer.sqlite.SqliteChannelLayer",
            "CONFIG": {"path": os.environ.get("CHANNEL_FILE")},
            "ROUTING": "demo.routing.channel_routing",
        },
    }

# Set by what runs the demo's processes, so that the start page can have one restarted.
DEMO_CONTROL = os.environ.get("DEMO_CONTROL", "")

LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "documents"
LOGOUT_REDIRECT_URL = "start"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "demo" / "static_collected"
STATICFILES_DIRS = [BASE_DIR / "demo" / "static"]

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
