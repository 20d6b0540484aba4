"""A pruned model on its way from the cut to its last training step."""

import time
from dataclasses import dataclass, field

from torch import nn

from autoprune.core.stages import Stage
from autoprune.evaluation.measure import Measurement, Reading
from autoprune.evaluation.randomness import Randomness
from autoprune.evaluation.recover import FineTuning
from autoprune.evaluation.search_split import SearchSplit

TRAINING_FORWARDS = 3  # forward, and a backward that costs two


@dataclass
class Candidate:
    """Trains and is measured as far as it is asked to, never back.

    What it is worth after some step on some of the search split does not depend on where it was
    measured before.

    Args:
        model: The pruned model with recalibrated norms, on its device.
        training: Its training.
        randomness: What training draws from.
        split: The search split.
        share: What one of its forwards costs, in forwards of the dense model.
        training_forwards: What training costs for a sample, in forwards of the dense model.
        sample_forwards: Cost so far, in forwards of one sample by the dense model.
        seconds: Cost so far, in seconds of wall clock.
        stages: Where it was measured.
    """

    model: nn.Module
    training: FineTuning
    randomness: Randomness
    split: SearchSplit
    share: float
    training_forwards: float
    sample_forwards: float
    seconds: float
    stages: list[Stage] = field(default_factory=list)
    _reading: Reading | None = None

    def reach(self, steps: int, share: float = 1.0) -> Measurement:
        """Train until ``steps`` are done and measure on ``share`` of the search split.

        What was measured since the last step is not measured again.

        Raises:
            CandidateError: If a loss is NaN or infinite.
            DataError: If a loader fails.
        """
        start = time.perf_counter()
        if steps > self.training.done:
            self._reading = None
            with self.randomness.running():
                trained = self.training.advance(steps)
            self.sample_forwards += self.training_forwards * trained
        self._reading = self._reading or self.split.reading()
        measured = self.split.extend(self._reading, self.model, share)
        self.sample_forwards += self.share * measured
        stage = self._reading.stage(self.training.done)
        if not self.stages or self.stages[-1].place != stage.place:
            self.stages.append(stage)
        self.seconds += time.perf_counter() - start
        return self._reading.found()
