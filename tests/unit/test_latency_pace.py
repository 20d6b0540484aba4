"""A limit in milliseconds is about the device as it is today."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from autoprune.agent.latency import search as latency
from autoprune.agent.latency.search import TargetLatency
from autoprune.core.progress import silent
from autoprune.cost.latency.model import Fit


class Model:
    fit = Fit((1.0, 0.0, 0.0, 0.0, 0.5), 0.0, 3)

    def adjust(self, kept: Any, seconds: Any) -> None:
        self.fit = Fit((3.0, 0.0, 0.0, 0.0, 0.0), 0.0, len(kept))


def test_what_was_stored_on_a_faster_day_is_slowed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = SimpleNamespace(
        whole=lambda policies, told=None: (np.ones((len(policies), 1)), np.full(1, 0.010)),
        runtime=SimpleNamespace(open=lambda *_: nullcontext("dense")),
        model=None,
        inputs=(),
        target=None,
    )
    monkeypatch.setattr(latency, "measure", lambda session: SimpleNamespace(seconds=0.015))
    found = TargetLatency(cast(Any, stored), cast(Any, None), model=cast(Any, Model()))
    assert found.model is not None
    found.take_pace()
    assert found.model.fit.weights == (1.5, 0.0, 0.0, 0.0, 0.75)
    found.fit([{}], silent)  # a later fit is of stored seconds again
    assert found.model.fit.weights == (4.5, 0.0, 0.0, 0.0, 0.0)
