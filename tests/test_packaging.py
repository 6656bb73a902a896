"""The wheel and the sdist: what is in them, and that they work where nothing else is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from websockets.sync.client import connect

from tests.conftest import close_answer, free_port, wait_until
from tests.test_house import ROOMS, ROOT

pytestmark = pytest.mark.slow

FACES = ["asgi_ipc", "asgi_redis", "channels_redis", "daphne"]
"""Packages in compat/, which lie at the top of the path once they are installed."""

STAND_INS = {"channels": "channels[daphne]>=4.1,<5", "daphne": "daphne~=4.1", "channels_redis": "channels_redis>=4.2"}
"""Distributions without files, and how other packages require them."""

NOT_SOURCE = shutil.ignore_patterns("__pycache__", "*.egg-info")

ROUND_TRIP = """
import asyncio
import asgi_ipc, asgi_redis, channel_layer, channels, channels_redis, interface_server, routing, workers
from channel_layer.memory import MemoryChannelLayer
from routing import Router, route

layer = MemoryChannelLayer()
layer.send("greetings", {"text": "hello", "bytes": b"\\x00\\xff"})
assert layer.receive(["greetings"]) == ("greetings", {"text": "hello", "bytes": b"\\x00\\xff"})
layer.group_add("everybody", "one")
layer.send_group("everybody", {"text": "all"})
assert asyncio.run(layer.areceive(["one"])) == ("one", {"text": "all"})
print(channels.__version__, channels.__file__)
"""


def outside() -> dict[str, str]:
    """An environment from which this repository is not in sight."""
    hidden = {"PYTHONPATH", "DJANGO_SETTINGS_MODULE", "VIRTUAL_ENV"}
    return {name: value for name, value in os.environ.items() if name not in hidden}


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command from there and give what it printed."""
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=outside(), capture_output=True, text=True, timeout=240
    )


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist and the wheel that was built from it."""
    source = tmp_path_factory.mktemp("source")
    for name in ["setup.cfg", "pyproject.toml", "MANIFEST.in", "LICENSE", "README.md", "CHANGELOG.md"]:
        shutil.copy(ROOT / name, source)
    for name in [*ROOMS, "compat", "demo", "stand-ins", "tests"]:
        shutil.copytree(ROOT / name, source / name, ignore=NOT_SOURCE)
    target = tmp_path_factory.mktemp("dist")
    result = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", target, source, cwd=target)
    assert result.returncode == 0, result.stdout + result.stderr
    return target


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    """The wheel."""
    [path] = distributions.glob("django_millrace-*.whl")
    return path


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` directory of an environment with the wheel, what it requires, and nothing else."""
    directory = tmp_path_factory.mktemp("environment")
    venv.create(directory, with_pip=False)
    result = pip(directory / "bin", "install", "--no-compile", wheel, cwd=directory)
    assert result.returncode == 0, result.stdout + result.stderr
    return directory / "bin"


def pip(bin: Path, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the pip of the tests' own environment for another, which needs none then."""
    return run(sys.executable, "-m", "pip", "--python", bin / "python", "--quiet", *arguments, cwd=cwd)


def test_the_wheel_holds_exactly_the_five_rooms_and_the_faces_of_foreign_packages(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {*ROOMS, *FACES}


def test_the_wheel_holds_every_file_of_the_rooms(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    kept = {
        str(path.relative_to(folder))
        for folder, tops in ((ROOT, ROOMS), (ROOT / "compat", FACES))
        for top in tops
        for path in (folder / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == kept
    assert any(name.endswith(".lua") for name in packed)


def test_the_licence_travels_with_both(distributions: Path, wheel: Path) -> None:
    assert any(name.endswith("/LICENSE") for name in zipfile.ZipFile(wheel).namelist())
    [sdist] = distributions.glob("django_millrace-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "setup.cfg", "pyproject.toml"} <= names
    assert {f"stand-ins/{name}/pyproject.toml" for name in STAND_INS} <= names


def test_the_index_is_told_where_the_project_is(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    labels = re.findall(r"^Project-URL: (\w+), https://", archive.read(name).decode(), re.MULTILINE)
    assert labels == ["Documentation", "Source", "Issues", "Changelog"]


def test_the_rooms_work_from_a_clean_environment(clean: Path, tmp_path: Path) -> None:
    result = run(clean / "python", "-W", "error", "-c", ROUND_TRIP, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert str(clean.parent) in result.stdout


def test_the_daphne_command_works_from_a_clean_environment(clean: Path, tmp_path: Path) -> None:
    version = run(clean / "daphne", "--version", cwd=tmp_path)
    assert (version.returncode, version.stderr) == (0, "")
    assert version.stdout.startswith("daphne (django-millrace) ")
    help_text = run(clean / "daphne", "--help", cwd=tmp_path)
    assert (help_text.returncode, help_text.stderr) == (0, "")
    assert "--port" in help_text.stdout


def test_type_checkers_see_the_types(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "uses.py").write_text(
        "from channel_layer.memory import MemoryChannelLayer\nreveal_type(MemoryChannelLayer().group_channels('g'))\n"
    )
    command = [sys.executable, "-m", "mypy", "--python-executable", clean / "python", "--config-file=", "uses.py"]
    result = run(*command, cwd=tmp_path)
    assert 'Revealed type is "list[str]"' in result.stdout.replace("builtins.", ""), result.stdout + result.stderr


def written_out(document: Path, clean: Path, directory: Path) -> None:
    """Make a new Django project and put the files into it that a document shows, settings at their end."""
    result = run(clean / "django-admin", "startproject", "project", ".", cwd=directory)
    assert result.returncode == 0, result.stderr
    blocks = re.findall(r"^```python\n# (project/\w+\.py)\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)
    assert {name for name, _ in blocks} == {
        "project/settings.py",
        "project/routing.py",
        "project/consumers.py",
        "project/asgi.py",
    }
    for name, text in blocks:
        with (directory / name).open("a" if name.endswith("settings.py") else "w") as file:
            file.write(text)


@contextmanager
def running(commands: list[str], clean: Path, directory: Path) -> Iterator[int]:
    """Run shell commands as a Procfile's processes, with the environment's programs; gives the port."""
    port = free_port()
    environment = outside() | {"PATH": f"{clean}{os.pathsep}{os.environ['PATH']}", "PORT": str(port)}
    log = directory / "log"
    with log.open("wb") as output:
        processes = [
            subprocess.Popen(
                ["sh", "-c", f"exec {command}"], cwd=directory, env=environment, stdout=output, stderr=output
            )
            for command in commands
        ]
        try:
            wait_until(lambda: answers(port), "the project answering")
            yield port
            for process in processes:
                process.terminate()
            assert [process.wait(60) for process in processes] == [0] * len(processes)
        finally:
            print(log.read_text(errors="replace"))
            for process in processes:
                process.kill()
                process.wait()


def answers(port: int) -> bool:
    """Whether the start page of a new Django project comes."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/", timeout=60) as response:
            return b"install worked successfully" in response.read()
    except OSError as error:
        close_answer(error)
        return False


def test_what_the_readme_shows_works(clean: Path, tmp_path: Path) -> None:
    written_out(ROOT / "README.md", clean, tmp_path)
    procfile = re.findall(r"^(?:web|worker): (.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(procfile) == 2
    with running(procfile, clean, tmp_path) as port, connect(f"ws://127.0.0.1:{port}/shout/") as socket:
        for text in ("hello", "ça va ?"):
            socket.send(text)
            assert socket.recv(60) == text.upper()


def test_what_getting_started_shows_works(clean: Path, tmp_path: Path) -> None:
    written_out(ROOT / "docs" / "getting-started.md", clean, tmp_path)
    assert run(clean / "python", "manage.py", "migrate", cwd=tmp_path).returncode == 0
    commands = ["daphne project.asgi:channel_layer -p $PORT", "python manage.py runworker -v2"]
    with running(commands, clean, tmp_path) as port:
        address = f"ws://127.0.0.1:{port}/room/kitchen/"
        with connect(address) as ada, connect(address) as bob:
            ada.send("hello")
            for socket in (ada, bob):
                assert json.loads(socket.recv(60)) == {"name": "somebody", "text": "hello"}


@pytest.mark.parametrize("room", ["routing", "workers", "channels"])
def test_a_module_that_hides_a_room_is_named_in_a_sentence(clean: Path, tmp_path: Path, room: str) -> None:
    (tmp_path / f"{room}.py").write_text("x = 1\n")
    result = run(clean / "daphne", "project.asgi:channel_layer", cwd=tmp_path)
    assert result.returncode == 1
    assert f"{tmp_path / room}.py hides the package {room!r}" in result.stderr
    assert "rename it" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["channels", "daphne"])
def test_a_foreign_distribution_beside_it_is_named_in_a_sentence(clean: Path, tmp_path: Path, name: str) -> None:
    foreign = tmp_path / f"{name}-4.2.0.dist-info"
    foreign.mkdir()
    (foreign / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 4.2.0\n")
    result = run(clean / "daphne", "project.asgi:channel_layer", cwd=tmp_path)
    assert result.returncode == 1
    assert f"pip uninstall {name}" in result.stderr
    assert "Traceback" not in result.stderr


APPS = """
from django.apps import AppConfig

class ChannelsConfig(AppConfig):
    name = "channels"
"""

FOREIGN = {
    "channels": {
        "channels/__init__.py": "",
        "channels/apps.py": APPS,
        "channels/layers.py": "",
        "channels/checks.py": "",
        "channels/db.py": "",
        "channels/management/commands/runworker.py": "",
    },
    "daphne": {"daphne/__init__.py": "", "daphne/cli.py": "def main(): print('somebody else')"},
}
"""Files of distributions like those of others, with what matters: the names that ours has too."""


def foreign_wheel(name: str, directory: Path) -> Path:
    """A wheel of somebody else's."""
    path = directory / f"{name}-4.9.9-py3-none-any.whl"
    info = f"{name}-4.9.9.dist-info"
    files = FOREIGN[name] | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 4.9.9\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if name == "daphne":
        files[f"{info}/entry_points.txt"] = "[console_scripts]\ndaphne = daphne.cli:main\n"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"]))
    return path


@pytest.mark.parametrize("name", ["channels", "daphne"])
@pytest.mark.parametrize("over_ours", [True, False], ids=["over-ours", "under-ours"])
def test_a_foreign_distribution_is_found_by_check_in_either_order(
    clean: Path, wheel: Path, tmp_path: Path, name: str, over_ours: bool
) -> None:
    install = ["install", "--no-deps", "--no-index", "--force-reinstall"]
    foreign = foreign_wheel(name, tmp_path)
    written_out(ROOT / "docs" / "getting-started.md", clean, tmp_path)
    try:
        assert pip(clean, *install, foreign, cwd=tmp_path).returncode == 0
        if not over_ours:
            assert pip(clean, *install, wheel, cwd=tmp_path).returncode == 0
        check = run(clean / "python", "manage.py", "check", cwd=tmp_path)
        assert check.returncode == 1
        assert f"(channels.E004) the distribution {name!r} is installed beside" in check.stderr
        assert "Traceback" not in check.stderr
        if name == "channels":  # the other has no files in the same folders
            served = run(clean / "python", "manage.py", "runserver", "--noreload", "127.0.0.1:0", cwd=tmp_path)
            assert served.returncode == 1
            assert f"the distribution {name!r} is installed beside" in served.stderr
            assert "cannot import name" not in served.stderr
        asgi = run(clean / "python", "-c", "import project.asgi", cwd=tmp_path)
        assert f"the distribution {name!r} is installed beside" in asgi.stderr.splitlines()[-1]
    finally:
        pip(clean, "uninstall", "--yes", name, cwd=tmp_path)
        assert pip(clean, *install, wheel, cwd=tmp_path).returncode == 0
    assert run(clean / "python", "manage.py", "check", cwd=tmp_path).returncode == 0


def requiring_wheel(requirements: Iterable[str], directory: Path) -> Path:
    """A wheel of somebody who requires something, and has no files."""
    path = directory / "needy-1-py3-none-any.whl"
    metadata = "Metadata-Version: 2.1\nName: needy\nVersion: 1\n"
    files = {
        "needy-1.dist-info/METADATA": metadata + "".join(f"Requires-Dist: {text}\n" for text in requirements),
        "needy-1.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
        archive.writestr("needy-1.dist-info/RECORD", "".join(f"{file},,\n" for file in files))
    return path


def test_a_package_that_requires_channels_is_content_with_the_stand_ins(clean: Path, tmp_path: Path) -> None:
    for name in STAND_INS:
        shutil.copytree(ROOT / "stand-ins" / name, tmp_path / "source" / name, ignore=NOT_SOURCE)
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path]
        built = run(*build, tmp_path / "source" / name, cwd=tmp_path)
        assert built.returncode == 0, built.stdout + built.stderr
    requiring_wheel(STAND_INS.values(), tmp_path)
    written_out(ROOT / "docs" / "getting-started.md", clean, tmp_path)
    try:
        # All in one resolution, as from a requirements file; nothing but these files may be looked at.
        installed = pip(clean, "install", "--no-index", *tmp_path.glob("*.whl"), cwd=tmp_path)
        assert installed.returncode == 0, installed.stdout + installed.stderr
        assert pip(clean, "show", "needy", cwd=tmp_path).returncode == 0
        assert pip(clean, "check", cwd=tmp_path).returncode == 0
        checked = run(clean / "python", "manage.py", "check", cwd=tmp_path)
        assert checked.returncode == 0, checked.stderr
    finally:
        pip(clean, "uninstall", "--yes", "needy", *STAND_INS, cwd=tmp_path)
    left = run(clean / "python", "-c", "import channels.layers, daphne.cli, channels_redis.core", cwd=tmp_path)
    assert left.returncode == 0, left.stderr
