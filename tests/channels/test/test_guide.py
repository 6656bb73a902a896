"""The guide ``docs/testing.md``: its project is written out, and its tests are run in each way it names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
GUIDE = ROOT / "docs" / "testing.md"

AROUND = {
    "chat/__init__.py": "",
    "chat/tests/__init__.py": "",
    "chat/settings.py": """
SECRET_KEY = "only for tests"
USE_TZ = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STATIC_URL = "/static/"
ROOT_URLCONF = "chat.urls"
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.staticfiles",
    "channels",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "never-made.sqlite3"}}
""",
    "chat/urls.py": """
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("people/", lambda request: HttpResponse(User.objects.values_list("username", flat=True)))]
""",
}
"""What a project has that the guide does not show."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The guide's project, on channel layers of its own."""
    files = dict(AROUND)
    for path, code in re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```$", GUIDE.read_text(), re.M | re.S):
        files[path] = files.get(path, "") + code.replace('"name": "chat', f'"path": "{tmp_path}/chat')
    for path, code in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(code)
    return tmp_path


def run(project: Path, *command: str) -> str:
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "chat.settings",
        "PYTHONPATH": os.pathsep.join([str(project), str(ROOT), str(ROOT / "compat")]),
        "PYTHONWARNINGS": "error",
    }
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=project, env=environment, capture_output=True, text=True, timeout=100
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert not (project / "never-made.sqlite3").exists()
    return output


def number_of_tests(project: Path) -> int:
    return sum(len(re.findall(r"def test_", path.read_text())) for path in project.rglob("test_*.py"))


@pytest.mark.slow
def test_its_tests_pass_under_djangos_runner_with_a_database_in_memory(project: Path) -> None:
    assert f"Ran {number_of_tests(project)} tests" in run(project, "django", "test")


@pytest.mark.slow
def test_its_tests_pass_in_parallel(project: Path) -> None:
    assert f"Ran {number_of_tests(project)} tests" in run(project, "django", "test", "--parallel", "2")


@pytest.mark.slow
def test_its_tests_pass_with_a_database_in_a_file(project: Path) -> None:
    with (project / "chat" / "settings.py").open("a") as settings:
        settings.write(f'\nDATABASES["default"]["TEST"] = {{"NAME": {str(project / "file.sqlite3")!r}}}\n')
    assert f"Ran {number_of_tests(project)} tests" in run(project, "django", "test")


@pytest.mark.slow
def test_its_tests_pass_under_pytest_without_a_plugin_for_django(project: Path) -> None:
    assert f"{number_of_tests(project)} passed" in run(project, "pytest", "-q", "-p", "no:cacheprovider")
