"""Tests of the prices: ``python manage.py test demo``."""

from __future__ import annotations

import signal
import time
from decimal import Decimal
from typing import Any
from unittest import mock

from django.core.management import call_command
from django.db import OperationalError
from django.test import TestCase, override_settings

from channels.exceptions import DenyConnection
from channels.test import ChannelTestCase, WSClient
from demo.prices import market
from demo.prices.management.commands import tick_prices
from demo.prices.models import HISTORY_SECONDS, Coin, Price

NOW = 1_790_000_000


class MarketTests(TestCase):
    def test_the_first_walk_fills_the_whole_history(self) -> None:
        new = market.advance(Coin.BITCOIN, NOW)
        self.assertEqual([price.second for price in new], list(range(NOW - HISTORY_SECONDS + 1, NOW + 1)))
        self.assertEqual(market.history(Coin.LITECOIN), [])

    def test_the_next_second_is_one_more_price_and_the_oldest_is_forgotten(self) -> None:
        market.advance(Coin.BITCOIN, NOW)
        [new] = market.advance(Coin.BITCOIN, NOW + 1)
        kept = market.history(Coin.BITCOIN)
        self.assertEqual((kept[-1].second, kept[-1].value), (NOW + 1, new.value))
        self.assertEqual(len(kept), HISTORY_SECONDS)

    def test_seconds_that_were_missed_are_made_up_for(self) -> None:
        market.advance(Coin.BITCOIN, NOW)
        self.assertEqual(len(market.advance(Coin.BITCOIN, NOW + 7)), 7)

    def test_a_second_is_not_walked_twice(self) -> None:
        market.advance(Coin.BITCOIN, NOW)
        self.assertEqual(market.advance(Coin.BITCOIN, NOW), [])
        self.assertEqual(market.advance(Coin.BITCOIN, NOW - 5), [])

    def test_the_same_walk_comes_out_everywhere(self) -> None:
        first = [price.as_pair() for price in market.advance(Coin.BITCOIN, NOW)]
        Price.objects.all().delete()
        self.assertEqual([price.as_pair() for price in market.advance(Coin.BITCOIN, NOW)], first)

    def test_a_walk_stays_in_sight_of_where_it_began(self) -> None:
        for coin, start in market.START.items():
            value, all_values = start, []
            for second in range(20_000):
                value = market.step(coin, value, second)
                all_values.append(value)
            self.assertGreater(min(all_values), start * Decimal("0.8"))
            self.assertLess(max(all_values), start * Decimal("1.2"))
            self.assertGreater(len(set(all_values)), 50)


class PageTests(TestCase):
    def test_each_coin_has_a_page_on_which_it_is_chosen(self) -> None:
        for coin in Coin:
            self.assertContains(self.client.get(f"/prices/{coin.value}/"), f'value="{coin.value}" checked')

    def test_the_first_coin_is_shown_to_who_names_none(self) -> None:
        self.assertRedirects(self.client.get("/prices/"), "/prices/bitcoin/")

    def test_there_is_no_page_for_another_coin(self) -> None:
        self.assertEqual(self.client.get("/prices/tulip/").status_code, 404)

    def test_the_start_page_leads_to_both(self) -> None:
        for coin in Coin:
            self.assertContains(self.client.get("/"), f'href="/prices/{coin.value}/"')


@override_settings(ALLOWED_HOSTS=["localhost"])
class ConsumerTests(ChannelTestCase):
    def page(self, coin: str = "bitcoin", origin: str = "http://localhost:8000") -> WSClient:
        page = WSClient()
        page.set_header("origin", origin)
        page.send_and_consume("websocket.connect", path=f"/prices/{coin}/")
        return page

    def send(self, page: WSClient, text: Any) -> None:
        page.send_and_consume("websocket.receive", text=text, path="/prices/bitcoin/")

    def test_a_page_begins_with_the_last_minutes(self) -> None:
        market.advance(Coin.LITECOIN, NOW)
        heard = self.page("litecoin").receive()
        self.assertEqual(heard["coin"], "litecoin")
        self.assertEqual(heard["prices"], [list(price.as_pair()) for price in market.history(Coin.LITECOIN)])

    def test_it_is_told_new_prices_of_its_coin_alone(self) -> None:
        market.push(0, NOW)
        page = self.page("bitcoin")
        page.receive()
        market.push(NOW, NOW + 1)
        heard = page.receive()
        self.assertEqual((heard["coin"], [second for second, _ in heard["prices"]]), ("bitcoin", [NOW + 1]))
        self.assertIsNone(page.receive())

    def test_prices_that_were_kept_and_not_told_are_told_later(self) -> None:
        market.push(0, NOW)
        page = self.page("bitcoin")
        page.receive()
        market.advance(Coin.BITCOIN, NOW + 1)
        market.push(NOW, NOW + 2)
        self.assertEqual([second for second, _ in page.receive()["prices"]], [NOW + 1, NOW + 2])

    def test_choosing_the_other_coin_moves_it_to_the_other_group(self) -> None:
        page = self.page("bitcoin")
        page.receive()
        self.send(page, {"watch": "litecoin"})
        self.assertEqual(page.receive(), {"coin": "litecoin", "prices": []})
        self.assertEqual(list(page.channel_layer.group_channels(Coin.BITCOIN.group_name)), [])
        market.push(0, NOW)
        self.assertEqual(page.receive()["coin"], "litecoin")
        self.assertIsNone(page.receive())

    def test_who_leaves_is_in_no_group(self) -> None:
        page = self.page("bitcoin")
        self.send(page, {"watch": "litecoin"})
        page.send_and_consume("websocket.disconnect", path="/prices/bitcoin/")
        for coin in Coin:
            self.assertEqual(list(page.channel_layer.group_channels(coin.group_name)), [])

    def test_what_names_no_coin_is_refused_and_changes_nothing(self) -> None:
        page = self.page("bitcoin")
        page.receive()
        for text in ("no JSON", "[1]", "null", "[" * 100_000, {"watch": "tulip"}, {"watch": ["bitcoin"]}, {}):
            self.send(page, text)
            self.assertIn("refused", page.receive(), text)
        self.assertEqual(len(list(page.channel_layer.group_channels(Coin.BITCOIN.group_name))), 1)

    def test_a_page_of_another_site_is_not_let_in(self) -> None:
        with self.assertRaises(DenyConnection):
            self.page(origin="https://elsewhere.example")


class CommandTests(ChannelTestCase):
    def setUp(self) -> None:
        self.addCleanup(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))

    def run_command(self, results: list[Any]) -> mock.Mock:
        """Run it for as many ticks as there are results."""
        pauses = [*[None] * (len(results) - 1), KeyboardInterrupt]
        with (
            mock.patch.object(time, "sleep", side_effect=pauses),
            mock.patch.object(tick_prices, "push", side_effect=results) as push,
        ):
            call_command("tick_prices")
        return push

    def test_it_pushes_each_second_until_it_is_stopped(self) -> None:
        told = [call.args for call in self.run_command([None, None, None]).call_args_list]
        # A new process tells all prices that are kept; each later push goes on where the last one ended.
        self.assertEqual([since for since, _ in told], [0, told[0][1], told[1][1]])

    def test_what_a_failed_tick_did_not_tell_is_told_by_the_next(self) -> None:
        with self.assertLogs(tick_prices.logger) as logs:
            push = self.run_command([None, OperationalError("locked"), None])
        (_, first), (failed, _), (next_one, _) = [call.args for call in push.call_args_list]
        self.assertEqual([failed, next_one], [first, first])
        self.assertIn("no new price: locked", logs.output[0])
