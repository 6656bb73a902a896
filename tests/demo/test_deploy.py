"""The files in ``demo/deploy``: what can be checked of them without the platforms that they are for."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from django.core.management import load_command_class

from interface_server.cli import main as daphne
from tests.end_to_end.processes import ROOT

yaml = pytest.importorskip("yaml")

DEPLOY = ROOT / "demo" / "deploy"


def script(name: str) -> str:
    """Path of a linter's command."""
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        pytest.skip(f"{name} is not installed: pip install --editable '.[test]'")
    return str(path)


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def dockerfile() -> list[list[str]]:
    """The instructions: words, and for what is written as JSON its items."""
    text = re.sub(r"#.*\n", "", (DEPLOY / "Dockerfile").read_text()).replace("\\\n", " ")
    return [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]


def kubernetes(process: str) -> tuple[dict[str, Any], list[str]]:
    """The pod of a Deployment, and the command of its container."""
    [found] = [
        item
        for item in documents("kubernetes.yaml")
        if (item["kind"], item["metadata"]["name"]) == ("Deployment", process)
    ]
    pod = found["spec"]["template"]["spec"]
    [container] = pod["containers"]
    return pod, [*container["command"], *container["args"]]


def commands() -> dict[str, tuple[list[str], float]]:
    """Where each command of web and worker stands: the command, and the seconds until the platform kills it."""
    [compose] = documents("compose.yaml")
    [render] = documents("render.yaml")
    [image] = [shlex.split(words.strip("[]").replace(",", " ")) for name, words in dockerfile() if name == "CMD"]
    found = {
        f"compose {name}": (service.get("command", image), float(service["stop_grace_period"].rstrip("s")))
        for name, service in compose["services"].items()
        if name in ("web", "worker")
    }
    for process in ("web", "worker"):
        pod, words = kubernetes(process)
        hook = (
            pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
        )
        found[f"kubernetes {process}"] = words, pod["terminationGracePeriodSeconds"] - float(hook[1])
        fly = tomllib.loads((DEPLOY / f"fly.{process}.toml").read_text())
        found[f"fly {process}"] = shlex.split(fly["processes"][process]), fly["kill_timeout"]
        lines = dict(line.split(": ", 1) for line in (DEPLOY / f"Procfile.{process}").read_text().splitlines())
        found[f"heroku {process}"] = shlex.split(lines[process].replace("$PORT", "8000")), 30
    for service in render["services"]:
        if "dockerCommand" in service:
            found[f"render {service['type']}"] = (
                shlex.split(service["dockerCommand"]),
                service["maxShutdownDelaySeconds"],
            )
    return found


def test_the_compose_file_follows_its_schema() -> None:
    command = [script("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_manifests_follow_the_schemas_of_kubernetes() -> None:
    command = [script("kubernetes-validate"), "--strict", str(DEPLOY / "kubernetes.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_disruption_budgets_and_the_service_select_what_the_deployments_label() -> None:
    labels = [{"app": "project", "process": process} for process in ("web", "worker")]
    kinds = {item["kind"] for item in documents("kubernetes.yaml")}
    assert {"Service", "PodDisruptionBudget", "HorizontalPodAutoscaler", "Ingress"} <= kinds
    for item in documents("kubernetes.yaml"):
        selector = item["spec"].get("selector")
        if selector is not None:
            assert selector.get("matchLabels", selector) in labels
        if item["kind"] == "Deployment":
            assert item["spec"]["template"]["metadata"]["labels"] == selector["matchLabels"]


@pytest.mark.parametrize("place", sorted(commands()))
def test_a_command_has_no_unknown_option_and_time_to_stop(place: str) -> None:
    words, seconds = commands()[place]
    if words[0] == "daphne":
        context = daphne.make_context("daphne", words[1:])
        assert context.params["channel_layer"] == "demo.asgi:channel_layer"
        needed = context.params["graceful_timeout"] + context.params["drain_seconds"]
        assert context.params["host"] == "0.0.0.0"
    else:
        assert words[:3] == ["python", "manage.py", "runworker"]
        parser = load_command_class("channels", "runworker").create_parser("manage.py", "runworker")
        needed = parser.parse_args(words[3:]).grace
    assert seconds >= needed + 5


def test_probes_ask_what_web_answers_by_itself() -> None:
    pod, words = kubernetes("web")
    [container] = pod["containers"]
    probe = container["livenessProbe"]["httpGet"]
    assert probe["path"] == daphne.make_context("daphne", words[1:]).params["health_path"]
    assert {probe["port"], container["readinessProbe"]["tcpSocket"]["port"]} == {container["ports"][0]["name"]}


def test_every_place_has_a_web_process_and_a_worker() -> None:
    assert len(commands()) == 10


def test_the_image_runs_as_somebody_who_is_not_root_and_gets_signals() -> None:
    instructions = dockerfile()
    names = [name for name, _ in instructions]
    assert names[0] == "FROM"
    assert dict(instructions)["FROM"].endswith("-slim")
    [user] = [words for name, words in instructions if name == "USER"]
    assert int(user) > 0
    assert names.index("USER") < names.index("CMD")
    assert dict(instructions)["CMD"].startswith("[")  # a shell would keep SIGTERM to itself
    assert "HEALTHCHECK" in names


def test_the_image_holds_what_exists_and_all_that_the_package_needs() -> None:
    taken = [line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")]
    assert [name for name in taken if not (ROOT / name).exists()] == []
    packages = {line.strip().partition(".")[0] for line in _section("packages =")}
    assert {name for name in packages if (ROOT / name).exists()} | {"compat"} <= set(taken)  # it holds the others


def _section(start: str) -> list[str]:
    lines = (ROOT / "setup.cfg").read_text().splitlines()
    first = lines.index(start) + 1
    last = next(number for number in range(first, len(lines)) if not lines[number].startswith(" "))
    return lines[first:last]
