"""Right after a cut: layers are fitted to the dense model, norms take new statistics."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from autoprune.core.fingerprint import seed_from
from autoprune.core.recovery import Recovery
from autoprune.cost.model import CostModel
from autoprune.evaluation.randomness import isolated
from autoprune.evaluation.reconstruction.recalibrate import recalibrate
from autoprune.evaluation.reconstruction.reconstruct import Targets, reconstruct, targets_of
from autoprune.surgery.ids import Ids
from autoprune.surgery.plan import Plan
from autoprune.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Settling:
    """Settles models that were cut from one dense model.

    Args:
        model: The dense model, on ``device``; never changed.
        plan: Its plan.
        cost: Its cost model.
        task: Source of the training batches.
        recovery: Whether layers are fitted, and on how many batches.
        seed: Seed of the run.
        device: Where models are.
    """

    model: nn.Module
    plan: Plan
    cost: CostModel
    task: Task
    recovery: Recovery
    seed: int
    device: str

    def settle(
        self, model: nn.Module, atoms: Mapping[str, Ids], share: float, *, trained: bool = False
    ) -> float:
        """Fit what a cut left to the dense model, and take statistics of norms anew, in place.

        Args:
            model: The model as it was cut.
            atoms: Numbers of the atoms that were removed, by unit.
            share: What one of its forwards costs, in forwards of the dense model.
            trained: Whether it was cut from what was trained since: that is left as it is.

        Returns:
            What it cost, in forwards of one sample by the dense model.

        Raises:
            DataError: If the train loader fails.
        """
        batches, spent = self.recovery.calibration_batches, 0.0
        if self.recovery.reconstruct and batches and atoms and not trained:
            macs = reconstruct(model, self._targets, self.plan.cut(atoms))
            spent = share * self._targets.samples + macs / max(self.cost.dense.macs, 1)
            batches = 0 if self._targets.whole else batches
        if batches:
            spent += share * recalibrate(model, self.task, batches, self.device)
        return spent

    @cached_property
    def _targets(self) -> Targets:
        with isolated(seed_from(self.seed, "targets"), self.task.loader("train")):
            return targets_of(
                self.model,
                self.task,
                self.plan,
                self.recovery.calibration_batches,
                self.cost.dense.memory,
                self.seed,
                self.device,
            )
