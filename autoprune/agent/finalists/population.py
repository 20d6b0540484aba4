"""Finalists as a population: the worse go on from the better ones, at another learning rate."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch import nn

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.evaluating.finalist import weights_of
from autoprune.agent.evaluating.outcomes import OUTRUN, RECOVERED, candidate_errors
from autoprune.agent.finalists.race import Accepts, Recovered
from autoprune.artifacts.weights import save_weights
from autoprune.core.fingerprint import fingerprint
from autoprune.core.policy import Policy
from autoprune.core.population import Member, Populate
from autoprune.core.progress import Progress, ProgressCallback
from autoprune.core.staged import Interim
from autoprune.errors import BudgetError, ModelError
from autoprune.evaluation.scoring.making import Making
from autoprune.evaluation.scoring.score import Score
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.storage.records import Evaluation

ROUNDS = 4  # stages of a training: after each but the last some go on from others
_NAME = "population"


@dataclass(frozen=True, slots=True)
class Leg:
    """What a stage of a training gave.

    Args:
        policy: What the model is cut by.
        score: What it is worth at its end.
        sample_forwards: What the stage cost, in forwards of one sample by the dense model.
        seconds: The same in seconds of wall clock.
    """

    policy: Policy
    score: Score
    sample_forwards: float
    seconds: float


@dataclass(frozen=True)
class Training:
    """What is done with finalists.

    Args:
        scorer: Builds and trains their models.
    """

    scorer: Scorer

    def begin(self, job: Policy, state: dict[str, Any] | None = None) -> "TrainingCourse":
        """Return the training of a policy's model, from its start or from a state."""
        return TrainingCourse(self.scorer, job, state)


class TrainingCourse:
    """The training of a finalist, stage by stage; see `autoprune.core.population.PacedCourse`."""

    def __init__(self, scorer: Scorer, policy: Policy, state: dict[str, Any] | None) -> None:
        self._policy, steps = policy, scorer.recovery.recover_steps
        with candidate_errors():
            candidate = scorer.candidate(policy, steps, final=True, bare=state is not None)
        aims = [(round(steps * at / ROUNDS), 1.0) for at in range(1, ROUNDS + 1)]
        self.making = Making(candidate, aims)
        self._spent = (0.0, 0.0)
        if state is not None:
            self.making.load_state_dict(state)
            self._spent = (candidate.sample_forwards, candidate.seconds)

    def set_pace(self, pace: float) -> None:
        """Train at so many times the schedule's learning rate from here on."""
        self.making.set_pace(pace)

    def advance(self) -> Interim[Leg]:
        """Train to the next stage and measure on the search split."""
        making, before = self.making, self._spent
        with candidate_errors():
            making.advance()
        score = making.score()
        self._spent = (score.sample_forwards, score.seconds)
        spent = [now - then for now, then in zip(self._spent, before, strict=True)]
        assert score.quality is not None
        return Interim(Leg(self._policy, score, *spent), -score.quality, making.over)

    def state_dict(self) -> dict[str, Any]:
        """Return all that another process needs to go on."""
        return self.making.state_dict()


def recover_population(
    ranked: Iterable[Evaluation],
    evaluations: Evaluations,
    progress: ProgressCallback,
    accepts: Accepts,
    *,
    populate: Populate,
) -> Recovered:
    """Fine-tune the best few together; return the best model and its evaluation.

    Population based training (Jaderberg et al. 2017, arXiv:1711.09846): after each of `ROUNDS`
    stages the worst take over policy and weights of the best, with another learning rate. What is
    interrupted, or whose weights are gone, begins anew.

    Raises:
        ModelError: If none could be fine-tuned.
        BudgetError: If all that could be were not accepted.
        InfrastructureError: If the cluster is gone.
    """
    policies = [one.policy for one in islice(ranked, evaluations.scorer.finalists)]
    name = _name_of(policies)
    known = _known(policies, evaluations, name)
    if known is not None and accepts(known[1], known[0]):
        return known
    progress(Progress(stage="recover", done=0, total=len(policies)))
    members = populate(Training(evaluations.scorer), policies) if policies else ()
    progress(Progress(stage="recover", done=len(policies), total=len(policies)))
    costs = {
        policy: (
            sum(leg.sample_forwards for leg in member.results),
            sum(leg.seconds for leg in member.results),
        )
        for policy, member in zip(policies, members, strict=True)
    }
    missed = False
    for member in _ranking(members):
        model, found = _finished(member, evaluations, costs, name)
        if accepts(found, model):
            _keep(found, costs, evaluations, name)
            return model, found
        missed = True
    if missed:
        _keep(None, costs, evaluations, name)  # it was paid for
        raise BudgetError(
            "Every pruned model that was fine-tuned missed a limit when it was measured once "
            "more, though it was inside before. Resume when the device is less busy, or start "
            "afresh with a higher limit."
        )
    raise ModelError(
        f"None of the {len(policies)} pruned models that were scored could be fine-tuned. Lower "
        "recovery.learning_rate and start afresh."
    )


def _name_of(policies: Iterable[Policy]) -> str:
    """Return the name under which results of a population are kept: others have other members."""
    return f"{_NAME}-{fingerprint(sorted(one.fingerprint for one in policies))[:8]}"


def _known(policies: Iterable[Policy], evaluations: Evaluations, name: str) -> Recovered | None:
    """Return what an earlier session found with the same population."""
    won = (evaluations.finalist(policy, name).stored() for policy in policies)
    return next((one for one in won if one is not None), None)


def _ranking(members: Iterable[Member[Leg]]) -> Iterator[Member[Leg]]:
    """Yield the best of each policy, the best one first: quality decides, then loss."""
    able = (one for one in members if one.state is not None)
    seen = set()
    for member in sorted(able, key=lambda one: one.results[-1].score.stages[-1].rank):
        if member.results[-1].policy not in seen:
            seen.add(member.results[-1].policy)
            yield member


def _finished(
    member: Member[Leg],
    evaluations: Evaluations,
    costs: dict[Policy, tuple[float, float]],
    name: str,
) -> tuple[nn.Module, Evaluation]:
    last = member.results[-1]
    model = TrainingCourse(evaluations.scorer, last.policy, member.state).making.candidate.model
    path = evaluations.folder / weights_of(last.policy, name)
    sha256, score = save_weights(model, path), last.score
    found = Evaluation(
        last.policy,
        RECOVERED,
        score.loss,
        score.quality,
        *costs[last.policy],
        path.name,
        sha256,
        score.score,
        score.stages,
    )
    return model, found


def _keep(
    winner: Evaluation | None,
    costs: dict[Policy, tuple[float, float]],
    evaluations: Evaluations,
    name: str,
) -> None:
    """Keep what became of all that began."""
    gone = f"{OUTRUN}: others of its population were better"
    for policy, spent in costs.items():
        won = winner if winner is not None and policy == winner.policy else None
        found = won or Evaluation(policy, gone, None, None, *spent)
        evaluations.finalist(policy, name).keep(found)
