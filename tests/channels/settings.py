"""Settings of the test project."""

from __future__ import annotations

import os
import tempfile

SECRET_KEY = "only-for-tests"
DEBUG = os.environ.get("TEST_DEBUG") == "1"
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
USE_TZ = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ROOT_URLCONF = "tests.channels.urls"
STATIC_URL = "/static/"
STATICFILES_DIRS = [os.path.join(os.path.dirname(__file__), "static")]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("TEST_DATABASE", os.path.join(tempfile.gettempdir(), f"channels-{os.getpid()}.sqlite3")),
    }
}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "channels.delay",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channel_layer.memory.MemoryChannelLayer",
        "ROUTING": "tests.channels.project_routing.channel_routing",
        "TEST_CONFIG": {"capacity": 5},
    },
    "other": {"BACKEND": "asgiref.inmemory.ChannelLayer", "ROUTING": [], "CONFIG": {"expiry": 30}},
}
if "TEST_CHANNEL_FILE" in os.environ:
    CHANNEL_LAYERS["default"]["BACKEND"] = "channel_layer.sqlite.SqliteChannelLayer"
    CHANNEL_LAYERS["default"]["CONFIG"] = {"path": os.environ["TEST_CHANNEL_FILE"]}

CHANNELS_WS_PROTOCOLS = ["chat.v2"]
