"""Somebody at a whiteboard, in the style of Channels 4: one instance for each WebSocket, with its state on `self`.

The page sends messages with a ``type`` (see `ACTS`) and a number ``n``. Each is answered with ``{"type": "done",
"n": n, "worker": process id}``: a page has only a few of them under way, and knows a lost one by the gap. Besides, the
page is sent ``board`` (the whole of it), ``change``, ``self`` (what this instance holds), and ``player``, ``drew``,
``pointed`` and ``left`` of the others.
"""

from __future__ import annotations

import os
import random
import secrets
from typing import Any

from channels.db import database_sync_to_async
from channels.exceptions import DenyConnection
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from demo import frames
from demo.whiteboard.models import HIGH, KEY_LENGTH, POINTS_MOST, WIDE, WIDTHS, Board, Color

NAME_LENGTH = 24
NAMES = ("Alder", "Beaver", "Dipper", "Heron", "Kingfisher", "Miller", "Otter", "Reed", "Swift", "Trout", "Willow")
UNDO_MOST = 50


class Refused(Exception):
    """A message that cannot be obeyed; its text is for who sent it."""


class BoardConsumer(AsyncJsonWebsocketConsumer):
    """Somebody at a board.

    Attributes:
        board: where.
        player: the name by which other pages know this one; empty if it was not let in.
        name, color, width: of the person, and of the pen in hand.
        stroke: what is being drawn; it is saved when the pen is lifted.
        undoable, redoable: ids of own strokes, the last one first to go.
        drawn: how many strokes there were.
        worker: the process that runs this.
        moves: how often that was another one than before.
    """

    board: Board
    player = ""
    name: str
    color: str
    width: int
    stroke: dict[str, Any] | None
    undoable: list[int]
    redoable: list[int]
    drawn: int
    worker: int
    moves: int

    async def connect(self) -> None:
        board = await Board.objects.filter(slug=self.scope["url_route"]["kwargs"]["slug"]).afirst()
        if board is None:
            raise DenyConnection
        self.board = board
        self.player = secrets.token_hex(4)
        self.name = self.scope["user"].get_username() or random.choice(NAMES)
        self.color = random.choice(Color.values)
        self.width = WIDTHS[1]
        self.stroke = None
        self.undoable, self.redoable = [], []
        self.drawn = 0
        self.worker, self.moves = os.getpid(), 0
        await self.channel_layer.group_add(self.board.group_name, self.channel_name)
        await self.accept()
        await self.show_board()
        await self.show_self()
        await self.publish("player.came", channel=self.channel_name, **self.looks())

    async def disconnect(self, code: int) -> None:
        if self.player:
            await self.publish("player.left")
            await self.channel_layer.group_discard(self.board.group_name, self.channel_name)

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Count the processes: the first event in a new one finds `self` as the one before has left it."""
        if message["type"] not in ("websocket.connect", "websocket.disconnect") and self.worker != os.getpid():
            self.worker = os.getpid()
            self.moves += 1
            await self.show_self()
        await super().dispatch(message)

    # What the page sends

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Read a message; what is no JSON is refused like other messages that mean nothing."""
        try:
            content = frames.read(text_data)
        except ValueError:
            content = None
        await self.receive_json(content)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        try:
            act, number = ACTS[content["type"]], int(content["n"])
        except (ValueError, TypeError, KeyError, OverflowError):
            await self.refuse(f'Send {{"type": …, "n": …}}, with a number and one of {", ".join(ACTS)}.')
            return
        try:
            await act(self, content)
        except Refused as error:
            await self.refuse(str(error))
        await self.send_json({"type": "done", "n": number, "worker": self.worker})

    async def draw(self, content: dict[str, Any]) -> None:
        """Go on with a stroke; a new key begins one."""
        key, points = read_key(content), read_points(content)
        if self.stroke is None or self.stroke["key"] != key:
            self.stroke = {"key": key, "color": self.color, "width": self.width, "points": []}
        if len(self.stroke["points"]) + len(points) > 2 * POINTS_MOST:
            raise Refused(f"A stroke has at most {POINTS_MOST} points; end it and begin another.")
        self.stroke["points"] += points
        await self.publish("player.drew", stroke={**self.stroke, "points": points})

    async def end(self, content: dict[str, Any]) -> None:
        """Lift the pen."""
        if self.stroke is None or self.stroke["key"] != read_key(content):
            raise Refused("There is no such stroke under way; send it as a whole, as a stroke.")
        await self.keep(self.stroke)

    async def whole_stroke(self, content: dict[str, Any]) -> None:
        """Draw all of a stroke at once: the page is not certain that its parts arrived."""
        color, width = read_pen(content)
        await self.keep({"key": read_key(content), "color": color, "width": width, "points": read_points(content)})

    async def keep(self, stroke: dict[str, Any]) -> None:
        """Save a stroke for everybody, and its id for undoing it."""
        stroke_id, change = await database_sync_to_async(self.board.keep)(stroke)
        self.stroke = None
        if stroke_id not in self.undoable:
            self.undoable = [*self.undoable, stroke_id][-UNDO_MOST:]
            self.redoable = []
            self.drawn += 1
        await self.publish("board.changed", change=change)
        await self.show_self()

    async def undo(self, content: dict[str, Any]) -> None:
        """Take back the last own stroke that is still kept."""
        await self.switch(self.undoable, self.redoable, visible=False)

    async def redo(self, content: dict[str, Any]) -> None:
        """Have back what was undone last."""
        await self.switch(self.redoable, self.undoable, visible=True)

    async def switch(self, source: list[int], target: list[int], visible: bool) -> None:
        """Hide or show the last stroke of one stack, and put it on the other."""
        while source:
            stroke_id = source.pop()
            change = await database_sync_to_async(self.board.show)(stroke_id, visible)
            if change is not None:
                target.append(stroke_id)
                await self.publish("board.changed", change=change)
                break
        await self.show_self()

    async def clear(self, content: dict[str, Any]) -> None:
        """Wipe the board."""
        await self.publish("board.changed", change=await database_sync_to_async(self.board.clear)())

    async def take_pen(self, content: dict[str, Any]) -> None:
        """Take another pen."""
        self.color, self.width = read_pen(content)
        await self.publish("player.here", **self.looks())
        await self.show_self()

    async def rename(self, content: dict[str, Any]) -> None:
        """Be called something else."""
        name = content.get("name")
        name = " ".join(name.split())[:NAME_LENGTH] if isinstance(name, str) else ""
        if not name or not name.isprintable():
            raise Refused("A name is made of letters and what else can be printed.")
        self.name = name
        await self.publish("player.here", **self.looks())
        await self.show_self()

    async def point(self, content: dict[str, Any]) -> None:
        """Show the others where the pointer is."""
        await self.publish("player.pointed", at=read_points(content)[:2])

    async def ask(self, content: dict[str, Any]) -> None:
        """Do nothing; who has done it is in the answer."""

    async def show_board(self, content: dict[str, Any] | None = None) -> None:
        """Send the page all of the board."""
        await self.send_json({"type": "board", **await database_sync_to_async(self.board.whole)()})

    # What the group hears

    async def board_changed(self, event: dict[str, Any]) -> None:
        await self.send_json({"type": "change", **event["change"]})

    async def player_came(self, event: dict[str, Any]) -> None:
        """Make the acquaintance of a new player, both ways."""
        if event["player"] != self.player:
            await self.channel_layer.send(event["channel"], {"type": "player.here", **self.looks()})
            await self.player_here(event)

    async def player_here(self, event: dict[str, Any]) -> None:
        await self.pass_on("player", event, "name", "color")

    async def player_drew(self, event: dict[str, Any]) -> None:
        await self.pass_on("drew", event, "stroke")

    async def player_pointed(self, event: dict[str, Any]) -> None:
        await self.pass_on("pointed", event, "at")

    async def player_left(self, event: dict[str, Any]) -> None:
        await self.pass_on("left", event)

    # Ways to say something

    async def publish(self, kind: str, **content: Any) -> None:
        """Tell everybody at the board."""
        await self.channel_layer.group_send(self.board.group_name, {"type": kind, "player": self.player, **content})

    async def pass_on(self, kind: str, event: dict[str, Any], *names: str) -> None:
        """Tell the page what another player has done."""
        if event["player"] != self.player:
            found = {name: event[name] for name in names}
            await self.send_json({"type": kind, "player": event["player"], **found})

    async def show_self(self) -> None:
        """Tell the page what this instance holds."""
        about = {"undoable": len(self.undoable), "redoable": len(self.redoable), "drawn": self.drawn}
        await self.send_json(
            {"type": "self", "worker": self.worker, "moves": self.moves, "width": self.width, **self.looks(), **about}
        )

    async def refuse(self, reason: str) -> None:
        await self.send_json({"type": "refused", "reason": reason})

    def looks(self) -> dict[str, Any]:
        """What others see of this player."""
        return {"player": self.player, "name": self.name, "color": self.color}


def read_key(content: dict[str, Any]) -> str:
    """The key of a stroke."""
    key = content.get("key")
    if not isinstance(key, str) or not 0 < len(key) <= KEY_LENGTH or not key.isalnum() or not key.isascii():
        raise Refused(f"The key of a stroke is 1 to {KEY_LENGTH} letters from a to z and digits.")
    return key


def read_pen(content: dict[str, Any]) -> tuple[str, int]:
    """The colour and the width of a pen."""
    color, width = content.get("color"), content.get("width")
    if color not in Color.values or width not in WIDTHS:
        raise Refused(f"A pen has one of the colours {', '.join(Color.values)} and one of the widths {WIDTHS}.")
    return str(color), int(width)


def read_points(content: dict[str, Any]) -> list[int]:
    """Coordinates on the board, x and y in turns."""
    points = content.get("points")
    if not isinstance(points, list) or not points or len(points) % 2 or len(points) > 2 * POINTS_MOST:
        raise Refused(f"Points are a list of 1 to {POINTS_MOST} pairs, x and y in turns.")
    if not all(type(value) is int for value in points):
        raise Refused("Coordinates are whole numbers.")
    return [min(max(value, 0), most) for value, most in zip(points, [WIDE, HIGH] * (len(points) // 2), strict=True)]


ACTS = {
    "draw": BoardConsumer.draw,
    "end": BoardConsumer.end,
    "stroke": BoardConsumer.whole_stroke,
    "undo": BoardConsumer.undo,
    "redo": BoardConsumer.redo,
    "clear": BoardConsumer.clear,
    "pen": BoardConsumer.take_pen,
    "name": BoardConsumer.rename,
    "point": BoardConsumer.point,
    "ask": BoardConsumer.ask,
    "board": BoardConsumer.show_board,
}
"""What a page may ask for."""
