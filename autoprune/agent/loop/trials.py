"""Trials of a study: begun with all that is proposed, ended with all that was found."""

import math
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from autoprune.agent.evaluating.outcomes import is_stopped
from autoprune.agent.feasible.encoding import Params
from autoprune.agent.samplers.attributes import AGAIN, SCREENING, prediction_of
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.samplers.history import ENDED, when_ended
from autoprune.artifacts.result import Predictions
from autoprune.predictor.prequential import Prediction, Reliability, Savings, Screening
from autoprune.storage.patience import patient
from autoprune.storage.quick import Ending
from autoprune.storage.records import Evaluation
from autoprune.storage.study import costs_of
from autoprune.storage.study_trials import ABANDONED, begin_trials, end_trials, stages_told


@patient
def ask_all(
    study: optuna.Study,
    sampler: PolicySampler,
    count: int,
    attributes: Mapping[str, Any] | None = None,
) -> list[tuple[Trial, Params]]:
    """Begin the next trials; they hold parameters, their source and what is expected of them.

    They are fewer where nothing new is left: the last one then repeats what was tried.

    The limits of the budget are its constraints.

    Args:
        study: The study.
        sampler: What proposes.
        count: How many.
        attributes: What else each trial holds.
    """
    attributes = attributes or {}
    if sampler.needs_trial:
        return [_asked(study, sampler, attributes) for _ in range(count)]
    proposals = sampler.propose_all(study, count)
    params = [sampler.encoding.params(one.row) for one in proposals]
    told = [{**one.attributes, **attributes} for one in proposals]
    kept = [sampler.constraints(one) for one in params]
    trials = begin_trials(study, params, sampler.space, told, kept)
    return list(zip(trials, params, strict=True))


def _asked(
    study: optuna.Study, sampler: PolicySampler, attributes: Mapping[str, Any]
) -> tuple[Trial, Params]:
    trial = study.ask(sampler.space)
    for name, value in attributes.items():
        trial.set_user_attr(name, value)
    known = Trial(study, trial._trial_id)  # the sampler told the storage more than the trial
    return known, dict(known.params)


def ask(
    study: optuna.Study, sampler: PolicySampler, attributes: Mapping[str, Any] | None = None
) -> tuple[Trial, Params]:
    """Begin the next trial; see `ask_all`."""
    (found,) = ask_all(study, sampler, 1, attributes)
    return found


@dataclass(frozen=True)
class Told:
    """What became of a trial.

    Args:
        trial: The trial.
        found: Its evaluation.
        costs: Costs of its policy, by name.
        attributes: What else it holds.
    """

    trial: Trial
    found: Evaluation
    costs: Mapping[str, float]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@patient
def tell_all(told: Sequence[Told]) -> None:
    """End trials of one study with what was found, so that dashboards show it.

    Those that others ended stay as they are.
    """
    if told:
        study = told[0].trial.study
        names = costs_of(study)
        end_trials(study, [_ending(one, names) for one in told])


def tell(trial: Trial, found: Evaluation, costs: Mapping[str, float]) -> None:
    """End a trial; see `tell_all`."""
    tell_all([Told(trial, found, costs)])


def _ending(told: Told, costs: Sequence[str]) -> Ending:
    found, study = told.found, told.trial.study
    facts = {"outcome": found.outcome, "quality": found.quality, "costs": dict(told.costs)}
    values = [stage.value for stage in found.stages]
    reports, stages = stages_told(study, values)
    state, ends = TrialState.FAIL, list[float]()
    if found.score is not None:
        state = TrialState.COMPLETE
        ends = [found.score, *(told.costs[name] for name in costs)]
    elif is_stopped(found):
        state, ends = TrialState.PRUNED, [reports[max(reports)]] if reports else []
    attributes = {**stages, **facts, **told.attributes}
    return Ending(
        trial_id=told.trial._trial_id,
        state=state,
        values=ends,
        reports=reports,
        attributes=attributes,
    )


@patient
def abandon(trial: Trial) -> None:
    """End a trial that tells nothing; one that another agent ended stays as it is."""
    with suppress(UpdateFinishedTrialError):
        trial.set_user_attr("outcome", ABANDONED)
        trial.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)


def was_given_back(trial: Trial) -> bool:
    """Tell whether another trial was begun with the policy of this one, and given back."""
    return AGAIN in trial.user_attrs


@patient
def ended(study: optuna.Study, after: Container[int] = ()) -> list[FrozenTrial]:
    """Return the trials that came to an end by themselves, in that order, but those known."""
    found = study.get_trials(deepcopy=False, states=ENDED)
    told = (
        trial
        for trial in found
        if trial.number not in after and trial.user_attrs.get("outcome") != ABANDONED
    )
    return sorted(told, key=when_ended)


def reliability(study: optuna.Study) -> Predictions:
    """Return what predictions were worth, and what screening by them saved."""
    trials = [(trial, _prediction(trial)) for trial in ended(study)]
    scored = [made for trial, made in trials if made and trial.state == TrialState.COMPLETE]
    screened = [
        (Screening(**trial.user_attrs[SCREENING]), made)
        for trial, made in trials
        if made and SCREENING in trial.user_attrs
    ]
    savings = Savings.of(screened)
    return Predictions(
        **asdict(Reliability.of(scored)),
        ranked=sum(not one.audit for one, _ in screened),
        **asdict(savings),
        wrong_at_most=savings.wrong_at_most,
    )


def _prediction(trial: FrozenTrial) -> Prediction | None:
    """Return what was expected of a trial; what failed or was stopped is worse than any score."""
    scored = trial.state == TrialState.COMPLETE and trial.values is not None
    return prediction_of(trial, trial.values[0] if scored else math.inf)
