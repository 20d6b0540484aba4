"""Measure the sensitivity table of a model: what is known is looked up, the rest is probed."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from autoprune.agent.sensitivity.probes import Answer, Probe, Probes
from autoprune.core.arrays import Floats
from autoprune.core.policy import Policy
from autoprune.core.probing import Probing
from autoprune.core.progress import Progress, ProgressCallback
from autoprune.core.workers import Crew, Hire, WorkersLostError, inline
from autoprune.errors import InfrastructureError
from autoprune.evaluation.probing.monotone import failed_error, fit
from autoprune.evaluation.probing.points import Point, due, expected
from autoprune.evaluation.probing.probe import Prober, probe_fingerprint
from autoprune.evaluation.probing.probed import Probed
from autoprune.evaluation.probing.sensitivity import Entry, Sensitivity
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.space.schema import UnitSpace
from autoprune.storage.database import Database
from autoprune.storage.sensitivities import Sensitivities, StoredProbe

DENSE = Policy({})
_RUNS = 4  # for each worker, so that none waits long for the last one


def measure_sensitivity(
    scorer: Scorer,
    spaces: Mapping[str, UnitSpace],
    *,
    model_fp: str,
    data_fp: str,
    database: Database,
    probing: Probing | None = None,
    hire: Hire = inline,
    progress: ProgressCallback,
) -> Sensitivity:
    """Return the sensitivity table, measuring what the database does not know.

    Every probe is stored as soon as it is made, so what was interrupted goes on where it was.

    Args:
        scorer: What builds the models; its task has the data.
        spaces: What may be chosen, by unit.
        model_fp: Fingerprint of the dense model.
        data_fp: Fingerprint of the data.
        database: The database that runs share.
        probing: How units are probed; None for the default.
        hire: Starts those who probe.
        progress: Told how it goes on.

    Raises:
        DataError: If a loader fails, or the dense model's loss is NaN or infinite.
        ModelError: If memory runs out.
        InfrastructureError: If workers do not live long enough to probe a unit.
    """
    probing = probing or Probing()
    store = Sensitivities(database, model_fp, data_fp, probe_fingerprint(scorer, probing))
    known = dict(store.known())
    table = _Table(scorer, spaces, probing, known, store, progress)
    table.measure(hire)
    return table.result()


@dataclass
class _Table:
    """The table while it is measured."""

    scorer: Scorer
    spaces: Mapping[str, UnitSpace]
    probing: Probing
    known: dict[str, StoredProbe]
    store: Sensitivities
    progress: ProgressCallback
    probed: int = 0
    sample_forwards: float = 0.0
    seconds: float = 0.0
    _start: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._points = {unit: _points(unit, space) for unit, space in self.spaces.items()}
        self._expected = {u: expected(s, self.probing.levels) for u, s in self.spaces.items()}
        given = {unit: len(self._given_up(unit)) for unit in self.spaces}
        self._before = sum(min(given[unit], most) for unit, most in self._expected.items())

    def measure(self, hire: Hire) -> None:
        """Probe what is missing."""
        missing = [unit for unit in self.spaces if self._due(unit)]
        if not missing and DENSE.fingerprint in self.known:
            self._tell("every probe of this model is known from before; none is made again")
            return
        self._tell()
        work = Probe(self.scorer, self.spaces, self.probing)
        prober = work.prober
        self._keep(DENSE, prober.dense, prober.samples)
        missing.sort(key=lambda unit: (prober.first_touch(unit), unit))
        with hire(work) as workers:
            runs = missing and even_shares(missing, self._work(prober), self._runs(workers.size))
            self._take(Crew(workers), [self._probes(run) for run in runs], prober.samples)

    def _runs(self, size: int) -> int:
        return len(self.spaces) if size == 1 else _RUNS * size

    def _probes(self, units: Iterable[str]) -> Probes:
        return {unit: self._given_up(unit) for unit in units}

    def _take(self, crew: Crew[Probes, list[Answer]], jobs: list[Probes], samples: int) -> None:
        """Let all units be probed, and keep what is found as it comes."""
        left = list(enumerate(jobs))[::-1]
        while left or crew.busy:
            while left and crew.free:
                crew.give(*left.pop())
            for number, answers in crew.done():
                if isinstance(answers, WorkersLostError):
                    raise InfrastructureError(
                        f"To probe {', '.join(jobs[number])} cost {answers}. What was probed is "
                        "kept. Look for what ends them, memory that runs out for one; the same "
                        "command goes on."
                    )
                for unit, points, found in answers:
                    for point, one in zip(points, found, strict=True):
                        self._keep(self._points[unit][point][0], one, samples)
                    self.probed += len(points)
                    self._tell()

    def result(self) -> Sensitivity:
        """Return the table; everything it needs is known."""
        dense = self.known[DENSE.fingerprint]
        assert dense.loss is not None
        assert dense.quality is not None
        entries = [entry for unit in self.spaces for entry in self._entries(unit, dense.loss)]
        failed = failed_error([e.given_up for e in entries if e.given_up is not None])
        errors = dict[str, Mapping[str, Floats]]()
        noise = dict[str, Mapping[str, Floats]]()
        for unit, space in self.spaces.items():
            own = {(e.method, e.level): (e.given_up, e.stderr) for e in entries if e.unit == unit}
            errors[unit], noise[unit] = fit(space, own, failed)
        return Sensitivity(
            dense_loss=dense.loss,
            errors=errors,
            noise=noise,
            sample_forwards=self.sample_forwards,
            seconds=self.seconds,
            dense_quality=dense.quality,
            metric=self.scorer.task.metric_name,
            higher_is_better=self.scorer.task.higher_is_better,
            is_share=self.scorer.task.is_share,
            samples=dense.samples,
            entries=entries,
            probed=self.probed,
            sparsities={
                unit: [1 - kept / space.atoms for kept in space.kept]
                for unit, space in self.spaces.items()
            },
        )

    def _keep(self, policy: Policy, one: Probed, samples: int) -> None:
        self.sample_forwards += one.sample_forwards
        self.seconds += one.seconds
        if policy.fingerprint not in self.known:
            self.known[policy.fingerprint] = _stored(one, samples)
            self.store.add(policy, self.known[policy.fingerprint])

    def _due(self, unit: str) -> list[Point]:
        """Return what is to be probed next of a unit, given what is known."""
        return due(self.spaces[unit], self.probing.levels, self._given_up(unit))

    def _given_up(self, unit: str) -> dict[Point, float]:
        known, dense = self.known, self.known.get(DENSE.fingerprint)
        base = dense.loss if dense is not None and dense.loss is not None else 0.0
        found = {p: known[key].loss for p, (_, key) in self._points[unit].items() if key in known}
        return {p: np.inf if loss is None else loss - base for p, loss in found.items()}

    def _entries(self, unit: str, dense: float) -> list[Entry]:
        """Return the entries of a unit that its settings ask for; others may be known too."""
        space, given_up = self.spaces[unit], self._given_up(unit)
        asked = dict[Point, float]()
        while more := due(space, self.probing.levels, asked):
            asked |= {point: given_up[point] for point in more}
        plan = self.scorer.plan
        found = []
        for method, level in sorted(asked, key=lambda p: (space.methods.index(p[0]), p[1])):
            policy, key = self._points[unit][method, level]
            one = self.known[key]
            found.append(
                Entry(
                    unit=unit,
                    kind=plan.kinds[unit],
                    atoms=space.atoms,
                    method=method,
                    level=level,
                    sparsity=policy[unit].sparsity,
                    loss=one.loss,
                    quality=one.quality,
                    given_up=None if one.loss is None else one.loss - dense,
                    stderr=one.stderr,
                    reason=one.reason,
                )
            )
        return found

    def _work(self, prober: Prober) -> Callable[[str], float]:
        return lambda unit: prober.work(unit) * self._expected[unit]

    def _tell(self, note: str | None = None) -> None:
        total = sum(self._expected.values())
        done = min(self._before + self.probed, total)
        left = None
        if self.probed:
            left = (time.monotonic() - self._start) / self.probed * (total - done)
        self.progress(
            Progress(stage="sensitivity", done=done, total=total, seconds_left=left, note=note)
        )


def even_shares(units: Sequence[str], work: Callable[[str], float], count: int) -> list[list[str]]:
    """Return the units in runs of about the same work; neighbours share most activations."""
    amounts = np.cumsum([work(unit) for unit in units])
    middles = amounts - np.diff(amounts, prepend=0.0) / 2
    numbers = np.minimum((middles / amounts[-1] * count).astype(int), count - 1)
    runs = [[u for u, own in zip(units, numbers, strict=True) if own == n] for n in range(count)]
    return [run for run in runs if run]


def _points(unit: str, space: UnitSpace) -> dict[Point, tuple[Policy, str]]:
    """Return the policy of each method and level above 0 of a unit, and its fingerprint."""
    every = [(method, at) for method in space.methods for at in range(1, space.levels)]
    policies = {point: Policy({unit: space.choice(*point)}) for point in every}
    return {point: (policy, policy.fingerprint) for point, policy in policies.items()}


def _stored(one: Probed, samples: int) -> StoredProbe:
    return StoredProbe(
        loss=one.loss,
        quality=one.quality,
        stderr=one.stderr,
        samples=samples,
        reason=one.reason,
        sample_forwards=one.sample_forwards,
        seconds=one.seconds,
    )
