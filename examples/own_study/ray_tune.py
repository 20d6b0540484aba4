"""Prune to half the multiply-adds with Ray Tune, two trials at a time, stopped early by ASHA.

``python examples/own_study/ray_tune.py`` takes about a minute, most of which Ray needs to start.
Ray listens on all interfaces of a machine: docs/own_study.md says how to keep it to itself.
"""

import tempfile
from typing import Any

import optuna
import ray
import torch
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from ray import tune
from ray.tune.schedulers import ASHAScheduler

import autoprune
from autoprune.ray_tune import StagedOptunaSearch

from digits import dense, loaders, loss_and_accuracy, train

STAGES, TRIALS = 3, 8


def objective(config: dict[str, Any], prunable: autoprune.Prunable) -> None:
    """Train the model of one policy, and report its loss after each stage."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = loaders()
    smaller = prunable.apply(prunable.policy(config))
    for _ in range(STAGES):
        train(smaller, data["train"], config["rate"])
        loss, accuracy = loss_and_accuracy(smaller, data["search"])
        tune.report({"loss": loss, "accuracy": accuracy})


def search(prunable: autoprune.Prunable) -> optuna.Study:
    """Return the study of a finished search over policies and a learning rate."""
    storage = optuna.storages.InMemoryStorage()
    searcher = StagedOptunaSearch(
        prunable.distributions | {"rate": FloatDistribution(0.003, 0.1, log=True)},
        metric="loss",
        mode="min",
        sampler=prunable.sampler(seed=0),
        storage=storage,
        study_name="digits",
        stages=STAGES,
    )
    scheduler = ASHAScheduler(
        metric="loss", mode="min", max_t=STAGES, grace_period=1, reduction_factor=2
    )
    with tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            tune.with_parameters(objective, prunable=prunable),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=TRIALS,
                max_concurrent_trials=2,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
    return optuna.load_study(study_name="digits", storage=storage)


def main() -> None:
    """Search, then tell what was found."""
    data = loaders()
    task = autoprune.Classification(data)
    prunable = autoprune.prunable(dense(data["train"]), task=task, budget="macs=50%")
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=2**27, log_to_driver=False)
    study = search(prunable)
    ray.shutdown()

    policy = prunable.policy(study.best_params)
    share = prunable.costs(policy).macs / prunable.costs(autoprune.Policy({})).macs
    stopped = [trial for trial in study.trials if trial.state == TrialState.PRUNED]
    print(f"{len(study.trials)} trials, {len(stopped)} of them stopped early")
    print(f"best policy: loss {study.best_value:.4f} at {share:.1%} of the multiply-adds")


if __name__ == "__main__":
    main()
