"""Reports of processes, for layers with the extension ``reports``, and the time that messages have waited."""

from __future__ import annotations

import asyncio

import pytest

from ..exceptions import InvalidMessage, InvalidName
from ..layer import ChannelLayer
from ..reports import REPORTS, Report
from .tools import MakeLayer, Tools


def by_name(reports: list[Report]) -> dict[str, dict[str, object]]:
    """The contents of reports."""
    return {report.name: dict(report.content) for report in reports}


class ReportRules(Tools):
    """The last report of a process is there for all who ask, until its time is over."""

    @staticmethod
    def reporting(make_layer: MakeLayer, count: int = 2) -> list[ChannelLayer]:
        """Layers that stand for so many processes; a layer without the extension skips the test."""
        made = [make_layer() for _ in range(count)]
        if REPORTS not in made[0].extensions:
            pytest.skip("this layer keeps no reports")
        return made

    def test_what_processes_report_others_can_read(self, make_layer: MakeLayer) -> None:
        process, reader = self.reporting(make_layer)
        assert reader.reports() == []
        content = {"version": "1", "counts": {"a": 1, "b": [0.5, None, True]}, "data": b"\x00"}
        process.publish_report("web.one", content)
        process.publish_report("web.two", {"n": 2})
        assert by_name(reader.reports()) == {"web.one": content, "web.two": {"n": 2}}

    def test_a_report_takes_the_place_of_the_one_before(self, make_layer: MakeLayer) -> None:
        process, reader = self.reporting(make_layer)
        for n in range(3):
            process.publish_report("web.one", {"n": n})
        assert by_name(reader.reports()) == {"web.one": {"n": 2}}

    def test_a_report_says_how_old_it_is(self, make_layer: MakeLayer) -> None:
        process, reader = self.reporting(make_layer)
        process.publish_report("web.one", {})
        (fresh,) = reader.reports()
        self.wait(0.3)
        (later,) = reader.reports()
        assert 0 <= fresh.age < later.age - 0.2

    def test_a_report_is_dropped_when_its_time_is_over(self, make_layer: MakeLayer) -> None:
        process, reader = self.reporting(make_layer)
        process.publish_report("web.short", {}, 0.2)
        process.publish_report("web.long", {}, 60)
        self.wait(0.3)
        assert by_name(reader.reports()) == {"web.long": {}}
        process.publish_report("web.other", {}, 0.2)
        assert by_name(reader.reports()) == {"web.long": {}, "web.other": {}}

    def test_reports_can_be_published_and_read_in_an_event_loop(self, make_layer: MakeLayer) -> None:
        process, reader = self.reporting(make_layer)

        async def exchange() -> list[Report]:
            try:
                await process.apublish_report("web.one", {"n": 1})
                return await reader.areports()
            finally:
                await process.aclose()
                await reader.aclose()

        assert by_name(asyncio.run(exchange())) == {"web.one": {"n": 1}}
        assert by_name(reader.reports()) == {"web.one": {"n": 1}}

    def test_a_report_that_cannot_be_kept_is_refused(self, make_layer: MakeLayer) -> None:
        process, reader = self.reporting(make_layer)
        with pytest.raises(InvalidName):
            process.publish_report("web one", {})
        with pytest.raises(InvalidMessage):
            process.publish_report("web.one", {"at": object()})
        assert reader.reports() == []

    def test_a_report_is_no_message(self, make_layer: MakeLayer) -> None:
        process, reader = self.reporting(make_layer)
        process.publish_report("web.one", {"n": 1})
        assert self.nothing(reader, "web.one")

    def test_flush_removes_reports(self, make_layer: MakeLayer) -> None:
        process, reader = self.reporting(make_layer)
        process.publish_report("web.one", {})
        reader.flush()
        assert reader.reports() == []

    def test_a_layer_without_the_extension_says_so(self, make_layer: MakeLayer) -> None:
        layer = make_layer()
        if REPORTS in layer.extensions:
            pytest.skip("this layer keeps reports")
        with pytest.raises(NotImplementedError, match="has no extension 'reports'"):
            layer.publish_report("web.one", {})
        with pytest.raises(NotImplementedError, match="has no extension 'reports'"):
            layer.reports()

    def test_a_receiver_can_tell_how_long_messages_have_waited(self, make_layer: MakeLayer) -> None:
        sender, receiver = self.reporting(make_layer)
        sender.send("work", {"n": 1})
        self.wait(0.4)
        sender.send("work", {"n": 2})
        deliveries = self.take_many(receiver, "work", count=2)
        waited = receiver.waited(deliveries)
        assert len(waited) == 2
        assert 0.3 <= waited[0] - waited[1] <= 5
        assert 0 <= waited[1] < 5
        assert receiver.waited([]) == []
