"""What a name in single backticks leads to.

Docstrings name things as their readers would: `Group.send`, whichever module it is documented in. A name that
is documented once becomes a link to it; the others, standard library and Django among them, are shown as code. A
full name in one of this project's packages that leads nowhere is a warning.
"""

from __future__ import annotations

from typing import Any

from sphinx.addnodes import pending_xref
from sphinx.util.nodes import make_refnode

ROOMS = ("channels", "channel_layer", "interface_server", "routing", "workers")


def resolve(app: Any, env: Any, node: pending_xref, content: Any) -> Any:
    """Find what Sphinx did not: by the end of its name."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    found = _find(env.domains.python_domain.objects, target, node.get("py:module"), node.get("py:class"))
    if found is not None:
        name, entry = found
        return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, name)
    claims_to_be_ours = "." in target and target.split(".")[0] in ROOMS
    return None if claims_to_be_ours else content


def _find(objects: dict[str, Any], target: str, module: str | None, owner: str | None) -> tuple[str, Any] | None:
    """The one documented object with that name: in the same class or module, in the upper room, or anywhere."""
    parts = target.split(".")
    for name in (target, ".".join(parts[-2:]), parts[-1]):
        ends = [one for one in objects.items() if one[0] == name or one[0].endswith(f".{name}")]
        near = [one for one in ends if one[0] in (f"{module}.{owner}.{name}", f"{module}.{name}")]
        upper = [one for one in ends if one[0].startswith(f"{ROOMS[0]}.")]
        for choice in (near, ends, upper):
            if len(choice) == 1:
                return choice[0]
    return None


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
