"""Ray Tune on a made-up loss; a script, as Ray wants processes of its own.

``ray_stages.py FOLDER hyperband`` lets HyperBand stop trials, ``... cut`` interrupts a run after a
few of them, ``... restore`` goes on with it. Prints what the study was told as JSON.
"""

import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import HyperBandScheduler

from autoprune.agent.samplers.budgeted import BudgetedSampler
from autoprune.ray_tune import StagedOptunaSearch
from autoprune.testing.chains import chain

STAGES, TRIALS = 4, 8
WIDTHS = {"a": range(12, 0, -1), "b": range(16, 0, -2), "c": range(9, 0, -1)}


def score(config: dict[str, Any]) -> None:
    """Report a stage after the other, from the last checkpoint on: HyperBand pauses trials."""
    start, checkpoint = 0, tune.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as folder:
            start = int((Path(folder) / "step").read_text())
    levels = sum(value for value in config.values() if isinstance(value, int))
    for step in range(start + 1, STAGES + 1):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "step").write_text(str(step))
            kept = tune.Checkpoint.from_directory(folder)
            tune.report({"loss": levels + 1 / step}, checkpoint=kept)


class Interrupt(tune.Callback):
    """Sends what Ctrl-C sends when a few trials are done."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        done = sum(one.status == "TERMINATED" for one in trials)
        if done == 3 and "CUT" in os.environ:
            os.kill(os.getpid(), signal.SIGINT)


def main(folder: str, how: str) -> None:
    """Run, and print the study."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    if how == "restore":
        tuner = tune.Tuner.restore(f"{folder}/run", trainable=score)
    else:
        sampler = BudgetedSampler(chain(WIDTHS, "macs=60%", ("channel.l1",)), 0)
        search = StagedOptunaSearch(
            sampler.space, metric="loss", mode="min", sampler=sampler, stages=STAGES
        )
        halving = HyperBandScheduler(metric="loss", mode="min", max_t=STAGES, reduction_factor=2)
        tuner = tune.Tuner(
            score,
            tune_config=tune.TuneConfig(
                search_alg=tune.search.ConcurrencyLimiter(search, 4),
                scheduler=halving if how == "hyperband" else None,
                num_samples=TRIALS,
            ),
            run_config=tune.RunConfig(name="run", storage_path=folder, callbacks=[Interrupt()]),
        )
    tuner.fit()
    running: Any = tuner
    ended = running._local_tuner._tune_config.search_alg
    while hasattr(ended, "searcher"):
        ended = ended.searcher
    told = [
        [one.state.name, one.value, len(one.intermediate_values)] for one in ended._ot_study.trials
    ]
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
