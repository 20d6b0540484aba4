"""One session of Ray for `test_ray_tune`, which reads the JSON that it prints last.

The example's folder must be on ``PYTHONPATH``, which Ray's workers inherit.
"""

import json
import math
import tempfile
from typing import Any

import ray
from ray import tune

import autoprune
from autoprune.agent.samplers.budgeted import BudgetedSampler
from autoprune.ray_tune import StagedOptunaSearch
from autoprune.testing.samplers import mixed

from digits import dense, loaders
from ray_tune import search


def troubled(config: dict[str, Any]) -> None:
    """Report twice; some fail between, some end with a NaN."""
    level = config["level:u0"] + config["level:u1"]
    tune.report({"loss": float(level)})
    if level % 3 == 1:
        raise RuntimeError("no")
    tune.report({"loss": math.nan if level % 3 == 2 else 0.0})


def troubles(folder: str) -> StagedOptunaSearch:
    """Return a finished search whose trials fail."""
    sampler = BudgetedSampler(mixed(), 0)
    searcher = StagedOptunaSearch(
        sampler.space, metric="loss", mode="min", sampler=sampler, stages=2
    )
    config = tune.TuneConfig(search_alg=searcher, num_samples=6, max_concurrent_trials=2)
    run = tune.RunConfig(storage_path=folder, verbose=0)
    tune.Tuner(troubled, tune_config=config, run_config=run).fit()
    return searcher


def told(searcher: StagedOptunaSearch) -> list[dict[str, Any]]:
    """Return what the study was told, and whether each policy is inside its budget."""
    study: Any = searcher._ot_study
    return [
        {
            "state": trial.state.name,
            "value": trial.value,
            "reports": list(trial.intermediate_values.values()),
            "params": trial.params,
        }
        for trial in study.trials
    ]


def main() -> None:
    """Run both searches."""
    data = loaders()
    prunable = autoprune.prunable(
        dense(data["train"]), task=autoprune.Classification(data), budget="macs=50%"
    )
    half = prunable.costs(autoprune.Policy({})).macs // 2
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=2**27, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        staged = told(search(prunable, folder)[0])
        troubled = told(troubles(folder))
    ray.shutdown()
    inside = [prunable.costs(prunable.policy(one["params"])).macs <= half for one in staged]
    print(json.dumps({"staged": staged, "troubled": troubled, "inside": inside}))


if __name__ == "__main__":
    main()
