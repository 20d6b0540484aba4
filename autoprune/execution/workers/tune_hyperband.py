"""Ray Tune's HyperBand, for jobs that come one by one to few workers."""

from collections.abc import Callable
from typing import Any

from ray.tune.schedulers import HyperBandScheduler
from ray.tune.schedulers.hyperband import _Bracket as Bracket


class HyperBand(HyperBandScheduler):
    """Compares the trials of a bracket when all of them are there.

    Ray's own compares those that are there: where trials come one by one, the first has nobody to
    be compared with, and the others are never compared again. It also counts the trials of a
    bracket that live, so one whose trials end is never full and takes all that come. And where
    the last trial to be waited for dies, those that rest do so for ever.

    Attributes:
        starving: Tells, once, whether all trials rest and no other one comes.
    """

    starving: Callable[[], bool] = staticmethod(lambda: False)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return who goes on; where nobody else comes, compare those that are there."""
        if self.starving():
            for bracket in [one for band in self._hyperbands for one in band if one is not None]:
                bracket.closed = True
                if bracket.current_trials() and bracket.cur_iter_done():
                    self._process_bracket(tune_controller, bracket)
        return super().choose_trial_to_run(tune_controller)

    def _create_bracket(self, s: int) -> Bracket:
        bracket: Bracket = super()._create_bracket(s)  # type: ignore[no-untyped-call]
        bracket.__class__ = _WholeBracket
        return bracket


class _WholeBracket(Bracket):
    closed = False

    def filled(self) -> bool:
        return self.closed or len(self._all_trials) >= self._n0

    def cur_iter_done(self) -> bool:
        return self.filled() and super().cur_iter_done()
