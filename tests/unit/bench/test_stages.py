"""The stages of a look are measured for every specification of the sampler."""

from __future__ import annotations

from pathlib import Path

import pytest

from scorer.sampling import sample
from scorer.spec import SPECIFICATIONS
from tests.bench.stages import DEMO, STAGES, StageClock, engine_for


def test_every_stage_of_a_look_takes_time() -> None:
    clock = StageClock()
    sample(DEMO, SPECIFICATIONS["middle"], window_seconds=2.0, limit=1)  # what is loaded once is no stage
    with clock.watching():
        sample(DEMO, SPECIFICATIONS["middle"], window_seconds=2.0, limit=1)
    assert clock.seconds.keys() == STAGES.keys()
    assert all(seconds > 0 for seconds in clock.seconds.values())
    assert max(clock.seconds, key=clock.seconds.__getitem__) == "decode"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["standard", "middle"])
def test_each_has_a_network_that_takes_its_clips(tmp_path: Path, name: str) -> None:
    spec = SPECIFICATIONS[name]
    ((_, clip),) = sample(DEMO, spec, window_seconds=2.0, limit=1)
    (score,) = engine_for(tmp_path / name, spec).score([clip])
    assert 0 <= score.score <= 100
