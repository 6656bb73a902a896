"""Tests of benchmarks.soak."""

from __future__ import annotations

import psycopg
import pytest

from benchmarks import soak


def schemas(dsn: str) -> list[tuple[str]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'soak%'").fetchall()


def test_every_message_arrives_and_nothing_is_left_in_the_database(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_POSTGRES_DSN", postgres_dsn)
    assert soak.main(["--minutes", "0.05", "--every", "1.5", "--rate", "100"]) == 0
    table = [[cell.strip() for cell in line.strip("| ").split("|")] for line in capsys.readouterr().out.splitlines()]
    assert table[0] == soak.HEADS
    assert len(table) == 5  # two rows on the way, and one when nothing is under way any more
    assert int(table[-1][1].replace(",", "")) > 0
    assert table[-1][2] == "0"
    assert all("KiB" in cell for cell in table[-1][3:-1])
    assert schemas(postgres_dsn) == []


def test_messages_that_do_not_arrive_are_told(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_POSTGRES_DSN", postgres_dsn)
    monkeypatch.setattr(soak, "DRAIN_SECONDS", -soak.AWAY_SECONDS)
    monkeypatch.setattr(soak.Soak, "_receive", lambda *arguments: None)
    assert soak.main(["--minutes", "0.01"]) == 1
    assert "messages did not arrive" in capsys.readouterr().err
    assert schemas(postgres_dsn) == []


def test_without_a_database_a_sentence_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("BENCH_POSTGRES_DSN", raising=False)
    assert soak.main([]) == 1
    assert "Set BENCH_POSTGRES_DSN" in capsys.readouterr().err
