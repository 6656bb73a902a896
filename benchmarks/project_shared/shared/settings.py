"""Settings of all projects; each adds its apps and its channel layer."""

from __future__ import annotations

import os

DEBUG = False
SECRET_KEY = "only-for-measuring-on-the-loopback-interface"
ALLOWED_HOSTS = ["127.0.0.1"]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]

ROOT_URLCONF = "shared.urls"

# Configured, as in any project, and used by nothing that is measured.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.path.join(os.environ["BENCH_DIRECTORY"], "project.sqlite3"),
    },
}

REDIS_URL = os.environ["BENCH_REDIS_URL"]

CAPACITY = 20_000
"""Messages a channel may hold on either side: more than a group send to all sockets can put into it."""

USE_TZ = True
