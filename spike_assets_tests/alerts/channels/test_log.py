"""The log as a channel."""

import logging
from datetime import timedelta

import pytest

from spike_assets.alerts import render
from spike_assets.alerts.channels.log import LogChannel
from spike_assets.alerts.wants import Wants
from spike_assets.deadline import Deadline
from spike_assets_tests.alerts.examples import PLAIN


def test_an_alert_is_a_warning_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    channel = LogChannel("log", Wants())
    channel.send(PLAIN, Deadline.after(timedelta(seconds=30)))
    said = f"{render.title(PLAIN)}\n\n{render.text(PLAIN)}"
    assert caplog.record_tuples == [("spike_assets.alerts", logging.WARNING, said)]


def test_it_is_shown_where_nobody_has_set_up_a_log() -> None:
    assert logging.getLogger("spike_assets.alerts").isEnabledFor(logging.WARNING)
