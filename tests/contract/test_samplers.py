"""What every registered sampler promises, to the last policy of a small space."""

import pytest

from autoprune.agent.samplers.names import SAMPLERS, Kind, Start
from autoprune.testing.chains import chain
from autoprune.testing.samplers import SamplerContract, feasible, step, study_of


@pytest.mark.parametrize("name", list(SAMPLERS))
class TestBuiltIn(SamplerContract):
    """Every registered sampler passes the contract that plug-ins are given."""

    @pytest.fixture(autouse=True)
    def _given(self, name: str) -> None:
        self.name, self.draws = name, name not in ("uniform", "minimax")

    def kind(self) -> Kind:
        return SAMPLERS.get(self.name)


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"uniform", "minimax"}))
def test_a_small_space_is_tried_to_the_last_policy(name: str) -> None:
    projection = chain({"a": (8, 6, 4), "b": (8, 4, 2)}, "macs=50%", ("channel.l1", "channel.l2"))
    count = feasible(projection)
    study = study_of(SAMPLERS.get(name).make(Start(projection=projection, seed=0)))
    rows = [step(study, number).tobytes() for number in range(count + 2)]
    assert len(set(rows[:count])) == count
    assert set(rows[count:]) <= set(rows[:count])
