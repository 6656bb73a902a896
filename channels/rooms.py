"""A check, before they are imported, that the rooms this package stands on are this distribution's own.

A project may own a module called ``routing`` or ``workers``. Under ``manage.py`` the project's folder
comes first on ``sys.path``, and its module would be imported in place of ours.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent


def check_rooms(house: Path = HOUSE, neighbours: bool = False) -> None:
    """Raise `ImportError` with one sentence if something hides one of the rooms.

    Args:
        neighbours: whether foreign distributions that share the rooms' names count as well.
    """
    # The module that explains lies in the first of the rooms, which may be the hidden one.
    spec = find_spec("channel_layer")
    found = Path(spec.origin).resolve() if spec is not None and spec.origin else None
    if found is None or found.parent != house / "channel_layer":
        raise ImportError(
            f"{found or 'something'} hides the package 'channel_layer' of django-millrace, which lies in "
            f"{house / 'channel_layer'}; rename it and change the imports of it"
        )
    from channel_layer.exceptions import LayerConfigurationError
    from channel_layer.installation import FOREIGN, check_installation

    try:
        check_installation(foreign=FOREIGN if neighbours else ())
    except LayerConfigurationError as error:
        raise ImportError(str(error)) from None
