"""Score a policy: shrink, cut, reconstruct, recalibrate, recover, measure on the search split."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from torch import nn

from autoprune.core.fingerprint import seed_from
from autoprune.core.policy import Policy
from autoprune.core.recover_function import RecoverFunction
from autoprune.core.recovery import Recovery, ScoreBy
from autoprune.core.stages import Stage
from autoprune.cost.model import CostModel
from autoprune.evaluation.distillation.distill import share_of
from autoprune.evaluation.measuring.search_split import SearchSplit
from autoprune.evaluation.pruning.importance import Importance
from autoprune.evaluation.pruning.pruned import pruned
from autoprune.evaluation.randomness import Randomness, isolated
from autoprune.evaluation.reconstruction.settling import Settling
from autoprune.evaluation.scoring.candidate import TRAINING_FORWARDS, Candidate, Training
from autoprune.evaluation.scoring.making import Making
from autoprune.evaluation.scoring.score import Score
from autoprune.evaluation.scoring.way import fingerprint_of
from autoprune.evaluation.training.fine_tune import FineTuning
from autoprune.evaluation.training.own_training import OwnTraining, size_of
from autoprune.evaluation.training.patience import Patience
from autoprune.evaluation.training.shrink import penalties, shrink
from autoprune.evaluation.training.updates import clip_norm_of
from autoprune.surgery.plan import Plan
from autoprune.surgery.tensors import copied
from autoprune.tasks import Task
from autoprune.tasks.classification import gives_logits

Watch = Callable[[Sequence[Stage]], str | None]


@dataclass(frozen=True)
class Scorer:
    """Scores policies of one model; the same policy and seed always give the same score.

    Args:
        model: The dense model, on ``device``; never changed.
        plan: Its plan.
        importance: Which atoms go first.
        cost: Its cost model.
        task: Data, loss and metric.
        recovery: How much a candidate is fine-tuned.
        seed: Seed of the run.
        device: Where the model is.
        recover: The user's own training of finalists, None for ours.
    """

    model: nn.Module
    plan: Plan
    importance: Importance
    cost: CostModel
    task: Task
    recovery: Recovery
    seed: int
    device: str
    recover: RecoverFunction | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what goes to another process: what follows from it is worked out there again."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def build(self, policy: Policy) -> nn.Module:
        """Return the pruned model as it is cut, before any recovery."""
        return self._built(self.model, policy)

    def _built(self, dense: nn.Module, policy: Policy) -> nn.Module:
        return pruned(dense, self.plan, self.importance, policy)

    def kept(self, policy: Policy) -> dict[str, int]:
        """Return the atoms kept of each unit the policy cuts."""
        gone = self.importance.removed(policy)
        return {unit: self.plan.units[unit].atoms - len(atoms) for unit, atoms in gone.items()}

    def share(self, policy: Policy) -> float:
        """Return what a forward of a policy's model costs, in forwards of the dense model."""
        return self.cost.price(self.kept(policy)).macs / max(self.cost.dense.macs, 1)

    def fingerprint(self, steps: int) -> str:
        """Identity of this way of scoring with ``steps`` training steps; below 0 of a finalist."""
        recovery = replace(
            self.recovery,
            score_by=self.score_by,
            distill=self.distill,
            clip_norm=clip_norm_of(self.recovery, self.model),
        )
        return fingerprint_of(recovery, steps, self.seed, self.recover, self.device)

    @property
    def score_by(self) -> ScoreBy:
        """What ranks candidates; what a class of a user's own calls outputs, nobody knows."""
        usual: ScoreBy = "kl" if gives_logits(self.task) else "loss"
        return self.recovery.score_by or usual

    @property
    def distill(self) -> float:
        """Share of the dense model's outputs in what finalists learn."""
        return share_of(self.recovery, self.task, own_training=self.recover is not None)

    @property
    def finalists(self) -> int:
        """How many of the best are trained for longer; a user's own function cannot pause."""
        return self.recovery.finalists_if(halved=self.recover is None)

    def score(
        self, policy: Policy, steps: int, watch: Watch | None = None
    ) -> tuple[nn.Module, Score]:
        """Build, recover for ``steps`` and measure, in stages; return the model and its score.

        Args:
            policy: What is scored.
            steps: Training steps to the end.
            watch: Given the stages so far after each but the last, returns why to stop, or None.
                If it is left out, nothing is measured before the end.

        Raises:
            CandidateError: If the loss is NaN or infinite.
            DataError: If a loader fails.
        """
        making, stopped = self.making(policy, steps, staged=watch is not None), None
        while not making.over and stopped is None:
            making.advance()
            if watch is not None and not making.over:
                stopped = watch(making.candidate.stages)
        return making.candidate.model, making.score(stopped)

    def making(
        self,
        policy: Policy,
        steps: int,
        state: Mapping[str, Any] | None = None,
        *,
        staged: bool = True,
    ) -> Making:
        """Return the score of a policy before it is made.

        Args:
            policy: What is scored.
            steps: Training steps to the end.
            state: What it goes on from, of `Making.state_dict`; None for its start.
            staged: Whether it pauses before the end.
        """
        aims = self.aims(steps)[0 if staged else -1 :]
        making = Making(self.candidate(policy, steps, bare=state is not None), aims)
        if state is not None:
            making.load_state_dict(state)
        return making

    def aims(self, steps: int) -> list[tuple[int, float]]:
        """Return steps and shares of the split, without stages that the last one is alike."""
        *early, (_, whole) = self.recovery.stages
        batches = self.search_split.batches
        aims = {
            (done, batches(share)): (done, share)
            for done, share in ((round(part * steps), share) for part, share in early)
            if done < steps or batches(share) < batches(1)
        }
        return [*aims.values(), (steps, whole)]

    def candidate(
        self, policy: Policy, steps: int, *, final: bool = False, bare: bool = False
    ) -> Candidate:
        """Build and recalibrate the model of a policy.

        Args:
            policy: What is applied.
            steps: Training steps to the end.
            final: Whether it is a finalist: with all that `Recovery` says of those, trained by
                the user's own function if there is one, and scored by loss.
            bare: Whether it is cut and no more, for a state is to be loaded.
        """
        start = time.perf_counter()
        dense, spent = (self.model, 0.0) if bare else self.shrunk(policy)
        share = self.share(policy)
        # all candidates see the same batches
        randomness = Randomness(seed_from(self.seed, steps), self.task.loader("train"))
        with randomness.running():
            model = self._built(dense, policy)
            if not bare:
                spent += self.settling.settle(model, self.importance.removed(policy), share)
        return Candidate(
            training=self.training(model, steps, randomness, final),
            split=self._split("loss") if final else self.search_split,
            share=share,
            sample_forwards=spent,
            seconds=time.perf_counter() - start,
            early_stop=self._early_stop(steps) if final else None,
        )

    @cached_property
    def settling(self) -> Settling:
        """What is done to a model right after its cut."""
        return Settling(
            model=self.model,
            plan=self.plan,
            cost=self.cost,
            task=self.task,
            recovery=self.recovery,
            seed=self.seed,
            device=self.device,
        )

    def training(
        self, model: nn.Module, steps: int, randomness: Randomness, final: bool
    ) -> Training:
        """Return the training of a pruned model, of a score or of a finalist."""
        if final and self.recover is not None:
            return OwnTraining(
                model, self.recover, steps, self._train_size, self.device, randomness
            )
        return FineTuning(
            model,
            self.task,
            steps,
            replace(self.recovery, distill=self.distill) if final else self.recovery.of_scores(),
            self.device,
            teacher=self.model,
            randomness=randomness,
        )

    def _early_stop(self, steps: int) -> Patience | None:
        recovery = self.recovery
        if not recovery.patience or self.recover is not None:  # that trains in one go
            return None
        return Patience(recovery.look_every, recovery.patience, steps)

    @cached_property
    def _train_size(self) -> tuple[int, int]:
        return size_of(self.task)

    @cached_property
    def search_split(self) -> SearchSplit:
        """The search split, the same batches for every candidate."""
        return self._split(self.score_by)

    @cached_property
    def trained_split(self) -> SearchSplit:
        """The same for what is trained on its way: by the loss, unless something else is asked.

        Good training leaves the dense model's outputs behind, which is no harm.
        """
        return self._split(self.recovery.score_by or "loss")

    def _split(self, score_by: ScoreBy) -> SearchSplit:
        seed = seed_from(self.seed, "search")
        return SearchSplit(self.task, self.model, score_by, seed, self.device)

    def shrunk(self, policy: Policy) -> tuple[nn.Module, float]:
        """Return the dense model after regularised training, if asked for, and what that cost.

        The cost is in forwards of one sample by the dense model.
        """
        powers = penalties(policy)
        if not powers or self.recovery.shrink_steps == 0:
            return self.model, 0.0
        dense = copied(self.model)
        atoms = self.importance.removed(policy)
        powers = {unit: power for unit, power in powers.items() if unit in atoms}
        with isolated(seed_from(self.seed, "shrink"), self.task.loader("train")):
            samples = shrink(
                dense, self.plan, atoms, powers, self.task, self.recovery, self.device, self.model
            )
        teacher = not self.task.has_loss
        return dense, float(samples * (TRAINING_FORWARDS + teacher))
