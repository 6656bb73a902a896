"""Boards and the strokes on them.

Each change of a board has a number, its version. Pages are told the changes as dicts with ``version``, ``drawn``
(strokes that are to be seen from now on) and ``gone`` (ids of those that are not). A page that finds a version missing
asks for the whole board.
"""

from __future__ import annotations

from typing import Any

from django.db import models, transaction
from django.urls import reverse

WIDE, HIGH = 1600, 1200
"""Size of a board, in the units of its points."""

WIDTHS = (6, 14, 32)
"""Pens that there are, in the same units."""

POINTS_MOST = 256
"""Points of one stroke; a page goes on with another stroke."""

STROKES_KEPT = 300
"""Strokes of a board; the oldest make room for new ones."""

KEY_LENGTH = 36


class Color(models.TextChoices):
    """What a pen draws in; how it looks is up to the page, which may be light or dark."""

    INK = "ink", "Ink"
    RED = "red", "Red"
    AMBER = "amber", "Amber"
    GREEN = "green", "Green"
    BLUE = "blue", "Blue"
    VIOLET = "violet", "Violet"


class Board(models.Model):
    """A board, made by the first visit to its address."""

    slug = models.SlugField(max_length=40, unique=True)
    version = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug

    def get_absolute_url(self) -> str:
        """The board's page."""
        return reverse("board", args=[self.slug])

    @property
    def group_name(self) -> str:
        """Name of the group of everybody who has the board open."""
        return f"whiteboard-{self.slug}"

    def visible(self) -> models.QuerySet[Stroke]:
        """The strokes to be seen, oldest first."""
        return self.strokes.filter(visible=True).order_by("id")

    def whole(self) -> dict[str, Any]:
        """The board as it is now."""
        self.refresh_from_db()
        return {"version": self.version, "drawn": [stroke.as_dict() for stroke in self.visible()], "gone": []}

    @transaction.atomic
    def keep(self, stroke: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Save a stroke and forget the oldest ones; a stroke that is sent again, known by its key, replaces itself.

        Returns:
            The id of the stroke, and the change of the board.
        """
        version = self._next_version()
        kept, _ = self.strokes.update_or_create(key=stroke["key"], defaults=stroke)
        old = list(self.strokes.order_by("-id").values_list("id", flat=True)[STROKES_KEPT:])
        self.strokes.filter(id__in=old).delete()
        return kept.pk, {"version": version, "drawn": [kept.as_dict()], "gone": old}

    @transaction.atomic
    def show(self, stroke_id: int, visible: bool) -> dict[str, Any] | None:
        """Hide a stroke, or have it back; nothing if it is no longer kept."""
        if not self.strokes.filter(id=stroke_id).update(visible=visible):
            return None
        version = self._next_version()
        drawn, gone = ([self.strokes.get(id=stroke_id).as_dict()], []) if visible else ([], [stroke_id])
        return {"version": version, "drawn": drawn, "gone": gone}

    @transaction.atomic
    def clear(self) -> dict[str, Any]:
        """Forget every stroke."""
        version = self._next_version()
        gone = list(self.visible().values_list("id", flat=True))
        self.strokes.all().delete()
        return {"version": version, "drawn": [], "gone": gone}

    def _next_version(self) -> int:
        """Count a change. The row stays locked for the rest of the transaction, so that changes have an order."""
        Board.objects.filter(pk=self.pk).update(version=models.F("version") + 1)
        self.refresh_from_db(fields=["version"])
        return self.version


class Stroke(models.Model):
    """A line that somebody has drawn.

    The page makes up the `key`. When it sends a stroke again, not knowing whether it got through, the key tells that
    the two are one.
    """

    board = models.ForeignKey(Board, on_delete=models.CASCADE, related_name="strokes", db_index=False)
    key = models.CharField(max_length=KEY_LENGTH)
    color = models.CharField(max_length=10, choices=Color.choices)
    width = models.PositiveSmallIntegerField(choices=[(width, str(width)) for width in WIDTHS])
    points = models.JSONField(help_text="x and y in turns")
    visible = models.BooleanField(default=True, help_text="not undone")

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["board", "id"], name="whiteboard_stroke_board_id")]
        constraints = [models.UniqueConstraint(fields=["board", "key"], name="whiteboard_stroke_once")]

    def __str__(self) -> str:
        return f"{self.get_color_display()}, {len(self.points) // 2} points"

    def as_dict(self) -> dict[str, Any]:
        """What the page needs to draw it, ready for JSON."""
        return {"id": self.pk, "key": self.key, "color": self.color, "width": self.width, "points": self.points}
