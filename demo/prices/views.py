"""Pages of the prices."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render

from demo.prices.models import HISTORY_SECONDS, Coin


def first(request: HttpRequest) -> HttpResponseRedirect:
    """Lead to the first of the coins."""
    return redirect("coin", Coin.BITCOIN.value)


def prices(request: HttpRequest, coin: str) -> HttpResponse:
    """The chart of a coin. The prices come over its WebSocket."""
    if coin not in Coin.values:
        raise Http404(f"There is no coin {coin!r}.")
    return render(request, "prices/chart.html", {"coins": Coin, "coin": Coin(coin), "seconds": HISTORY_SECONDS})
