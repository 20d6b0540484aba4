"""A pruned model on its way from the cut to its last training step."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import nn

from autoprune.core.stages import Stage
from autoprune.evaluation.measuring.measure import Measurement, Reading
from autoprune.evaluation.measuring.search_split import SearchSplit
from autoprune.evaluation.training.fine_tune import FineTuning
from autoprune.evaluation.training.patience import Look, Patience

TRAINING_FORWARDS = 3  # forward, and a backward that costs two


class Training(Protocol):
    """Training that may pause.

    Attributes:
        done: Steps so far.
        samples: Samples that were trained on so far.
        learns: Whether each step runs the dense model too.
    """

    done: int
    samples: int
    learns: bool

    @property
    def kept(self) -> nn.Module:
        """What it has come to, in eval mode."""
        ...

    def advance(self, steps: int) -> int:
        """Train until ``steps`` steps are done in all; return the samples that took."""
        ...


@dataclass
class Candidate:
    """Trains and is measured as far as it is asked to, never back.

    What it is worth after some step on some of the search split does not depend on where it was
    measured before.

    Args:
        training: The training of the pruned model, whose norms are recalibrated.
        split: The search split.
        share: What one of its forwards costs, in forwards of the dense model.
        sample_forwards: Cost so far, in forwards of one sample by the dense model.
        seconds: Cost so far, in seconds of wall clock.
        early_stop: What ends its training early; None if nothing does.
        stages: Where it was measured.
    """

    training: Training
    split: SearchSplit
    share: float
    sample_forwards: float
    seconds: float
    early_stop: Patience | None = None
    stages: list[Stage] = field(default_factory=list)
    _reading: Reading | None = None
    _found: Measurement | None = None  # where it stands, on the whole split

    @property
    def training_forwards(self) -> float:
        """What training costs for a sample, in forwards of the dense model."""
        return self.share * TRAINING_FORWARDS + self.training.learns

    @property
    def model(self) -> nn.Module:
        """What it has come to: the model as trained, its average, or a copy at its best."""
        if self.early_stop is None:
            return self.training.kept
        return self.early_stop.of_best(self.training.kept)

    def reach(self, steps: int, share: float = 1.0) -> Measurement:
        """Train until ``steps`` are done and measure on ``share`` of the search split.

        What was measured since the last step is not measured again. Where training was stopped
        early, the best it had been is what further steps come to.

        Raises:
            CandidateError: If a loss is NaN or infinite.
            DataError: If a loader fails.
        """
        if self._found is not None and steps <= self.training.done:
            return self._found
        start = time.perf_counter()
        try:
            reading: Reading | Look
            if self.early_stop is None:
                reading = self._measured(steps, share)
            else:
                reading = self._best(self.early_stop, steps, share)
        finally:
            self.seconds += time.perf_counter() - start
        stage = reading.stage(max(steps, self.training.done))
        if not self.stages or self.stages[-1].place != stage.place:
            self.stages.append(stage)
        found = reading.found()
        self._found = found if share == 1.0 else None
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return all that another process needs to go on, weights included."""
        return {
            "training": self.tuning.state_dict(),
            "early_stop": self.early_stop and self.early_stop.state_dict(),
            "found": self._found,
            "stages": list(self.stages),
            "sample_forwards": self.sample_forwards,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; what this one has cost so far is added to what the state had."""
        self.tuning.load_state_dict(state["training"])
        if self.early_stop is not None:
            self.early_stop.load_state_dict(state["early_stop"])
        self._reading, self._found = None, state["found"]
        self.stages = list(state["stages"])
        self.sample_forwards += state["sample_forwards"]
        self.seconds += state["seconds"]

    @property
    def tuning(self) -> FineTuning:
        """Its training, where that is ours and not a function of the user's."""
        assert isinstance(self.training, FineTuning)
        return self.training

    def _train(self, steps: int) -> None:
        if steps > self.training.done:
            self._reading, self._found, before = None, None, self.training.samples
            try:
                self.training.advance(steps)
            finally:  # what fails costs too
                samples = self.training.samples - before
                self.sample_forwards += self.training_forwards * samples

    def _measured(self, steps: int, share: float) -> Reading:
        self._train(steps)
        self._reading = self._reading or self.split.reading()
        measured = self.split.extend(self._reading, self.training.kept, share)
        self.sample_forwards += self.split.forwards * self.share * measured
        return self._reading

    def _best(self, early_stop: Patience, steps: int, share: float) -> Reading | Look:
        """Return what it was worth at its best, looking every so many steps."""
        for aim in early_stop.aims(steps):
            if not early_stop.over:
                early_stop.look(aim, self._measured(aim, share), self.training.kept)
        if early_stop.best is None:
            return self._measured(steps, share)
        if not early_stop.over:
            self._train(steps)
        return early_stop.best
