"""Where prices come from: a random walk for each coin, one step a second."""

from __future__ import annotations

import json
import math
import random
from decimal import Decimal

from channels import Group
from demo.prices.models import HISTORY_SECONDS, Coin, Price

START = {Coin.BITCOIN: Decimal("64000.00"), Coin.LITECOIN: Decimal("84.00")}

SEED = "millrace"
SWING = 0.0006
PULL = 0.002


def step(coin: Coin, value: Decimal, second: int) -> Decimal:
    """The price after `value`, a second later: by chance, and drawn back a little to where it began.

    The second is part of the seed, so the same walk comes out on every machine.
    """
    chance = random.Random(f"{SEED} {coin.value} {second}").gauss(0, SWING)
    home = math.log(START[coin] / value)
    return round(value * Decimal(math.exp(chance + PULL * home)), 2)


def advance(coin: Coin, now: int) -> list[Price]:
    """Walk to the second `now`, forget what is too old, and return the prices that are new.

    More than one is new if the last call was longer ago: the chart then has no gap.
    """
    begin = now - HISTORY_SECONDS
    last = Price.objects.filter(coin=coin, second__gt=begin).order_by("second").last()
    second, value = (last.second, last.value) if last else (begin, START[coin])
    new = []
    while second < now:
        second += 1
        value = step(coin, value, second)
        new.append(Price(coin=coin, second=second, value=value))
    # Should two processes do this at once, they come to the same prices, and each is kept once.
    Price.objects.bulk_create(new, ignore_conflicts=True)
    Price.objects.filter(coin=coin, second__lte=begin).delete()
    return new


def push(since: int, now: int) -> None:
    """Tell everybody who watches a coin its prices after the second `since`, up to `now`.

    A price is kept before it is told, so that who joins in between finds it. A process that ends between the two, or
    cannot reach the broker, leaves prices untold: only the caller knows up to which second it has told them.
    """
    for coin in Coin:
        advance(coin, now)
        prices = history(coin, since)
        if prices:
            Group(coin.group_name).send({"text": encode(coin, prices)})


def history(coin: Coin, since: int = 0) -> list[Price]:
    """The prices of the last minutes after the second `since`, oldest first."""
    return list(Price.objects.filter(coin=coin, second__gt=since).order_by("second"))


def encode(coin: Coin, prices: list[Price]) -> str:
    """The frame that carries prices: ``{"coin": name, "prices": [[second, dollars], …]}``."""
    return json.dumps({"coin": coin.value, "prices": [price.as_pair() for price in prices]})
