"""Settings of `synthesize`: faults are reported together."""

from __future__ import annotations

import pytest

from seawall.errors import ConfigError
from seawall.synthesis.config import SynthesizeConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"copies": 0}, "copies is 0; it must be at least 1"),
        ({"batch_size": 0, "attempts": 0}, "attempts is 0; .*; batch_size is 0; it must be at least 1"),
        ({"start": "noise"}, "start is 'noise'; it must be 'bank' or 'blank'"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be above 0"),
        ({"threshold": -1.0, "warm_start": -1}, "threshold is -1.0; .*; warm_start is -1; it must not be negative"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        SynthesizeConfig(**settings)
