"""Facts about the machine of a measurement."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from .environments import versions
from .programs import redis_server


def describe(environments: list[str]) -> dict[str, str]:
    """Hardware, system and versions, as name → text."""
    facts = {
        "processor": f"{len(os.sched_getaffinity(0))} × {_field('/proc/cpuinfo', 'model name')}",
        "memory": f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / 1_048_576:.1f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Redis": _redis_version(),
        "HTTP client": "wrk, 1 thread",
        "load average before": f"{os.getloadavg()[0]:.2f}",
    }
    for environment in environments:
        facts[environment] = ", ".join(f"{name} {version}" for name, version in versions(environment).items())
    return facts


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "0"


def _redis_version() -> str:
    text = subprocess.run([redis_server(), "--version"], capture_output=True, text=True, check=True).stdout
    return next((word[2:] for word in text.split() if word.startswith("v=")), text.strip())
