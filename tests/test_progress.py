"""Progress without a terminal: log lines at an interval, and one at the end."""

from __future__ import annotations

import logging

import pytest

from seawall import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def test_the_log_gets_a_line_per_interval_with_note_and_time_left(clock, caplog):
    caplog.set_level(logging.INFO, "seawall")
    with progress.track("making", 20, done=8) as bar:
        bar.advance(1, note="1 good")
        assert caplog.messages == []
        clock[0] += progress.LOG_INTERVAL
        bar.advance(2, note="3 good")
        bar.advance(1, note="4 good")
        # 30 s for 3 of the 12 remaining units: 10 s for each of the other 9
        assert caplog.messages == ["making: 11 of 20, 3 good, 0:01:30 left"]
    assert caplog.messages[1:] == ["making: 4 in 30.0 s (4 good)"]


def test_a_terminal_gets_a_bar_and_no_lines(clock, caplog, monkeypatch, capsys):
    monkeypatch.setattr(progress, "shows_bars", lambda: True)
    caplog.set_level(logging.INFO, "seawall")
    with progress.track("making", 2) as bar:
        clock[0] += progress.LOG_INTERVAL
        bar.advance(1, note="1 good")
        assert caplog.messages == []
    assert capsys.readouterr().out == ""
