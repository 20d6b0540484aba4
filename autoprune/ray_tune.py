"""Ray Tune: Optuna's search, told which trials were stopped early. Needs ``autoprune[ray]``."""

from typing import Any

try:
    from ray.tune.search.optuna import OptunaSearch
except ModuleNotFoundError as err:
    if (err.name or "").partition(".")[0] != "ray":
        raise
    raise ModuleNotFoundError(
        "autoprune.ray_tune needs Ray Tune. Install it with: pip install 'autoprune[ray]'",
        name=err.name,
    ) from err

from optuna.trial import Trial, TrialState

from autoprune.agent.loop.trials import abandon
from autoprune.core.numbers import check_at_least
from autoprune.errors import ConfigError

_STEP = "training_iteration"  # Ray Tune counts reports, from 1


class StagedOptunaSearch(OptunaSearch):
    """Ray Tune's ``OptunaSearch`` for trials that report at stages and may be stopped early.

    ``OptunaSearch`` tells the study of every stopped trial as one that came to its end, with the
    value that it had by then, and leaves trials with a NaN running for ever. Here a trial with
    fewer than ``stages`` reports is told as stopped, with its values by stage, so that samplers
    do not take an early value for a final one; an error or a NaN is told as a failure; what never
    reported is told as abandoned, and may be proposed again.

    Args:
        args: As for ``OptunaSearch``; for policies ``space`` is `Prunable.distributions`.
        stages: Reports (``tune.report``) of a trial that comes to its end; as ``max_t`` of ASHA
            and HyperBand.
        kwargs: As for ``OptunaSearch``; ``sampler`` may be of `Prunable.sampler`.

    Raises:
        ConfigError: If ``stages`` is no number above 0, or there are several metrics.
    """

    def __init__(self, *args: Any, stages: int, **kwargs: Any) -> None:
        check_at_least("stages", stages, 1, int)
        super().__init__(*args, **kwargs)
        if isinstance(self.metric, list):
            raise ConfigError(
                "StagedOptunaSearch compares trials by one metric. Got "
                f"{', '.join(self.metric)}. Optuna has no early stops with several: use "
                "ray.tune.search.optuna.OptunaSearch."
            )
        self._stages = stages
        self._last: dict[str, tuple[int, float]] = {}  # stage and value

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Report the value of a stage; a trial that was restarted repeats some."""
        if trial_id in self._completed_trials:
            return  # it failed, and was restored since: the study keeps the failure
        step, value = result[_STEP], result.get(self.metric)
        if value is not None and step > self._last.get(trial_id, (0, 0.0))[0]:
            self._ot_trials[trial_id].report(value, step)
            self._last[trial_id] = step, value

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the study how a trial ended."""
        if trial_id in self._completed_trials:
            return
        trial: Trial = self._ot_trials[trial_id]
        if result:  # HyperBand gives none
            self.on_trial_result(trial_id, result)
        self._completed_trials.add(trial_id)
        step, value = self._last.get(trial_id, (0, 0.0))
        if error or value != value:
            trial.study.tell(trial, state=TrialState.FAIL)
        elif step == 0:
            abandon(trial)
        elif step < self._stages:
            trial.study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.study.tell(trial, value)
