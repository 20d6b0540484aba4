"""Prune to half the multiply-adds in an Optuna study of your own, with its pruner.

``python examples/own_study/optuna_study.py`` takes some ten seconds.
"""

import optuna
import torch

import autoprune

from digits import dense, loaders, loss_and_accuracy, train

STAGES, TRIALS = 3, 16


def main() -> None:
    """Search policies and a learning rate together, then tell what was found."""
    data = loaders()
    model = dense(data["train"])
    task = autoprune.Classification(data)
    prunable = autoprune.prunable(model, task=task, budget="macs=50%")

    def objective(trial: optuna.Trial) -> float:
        torch.manual_seed(trial.number)
        smaller = prunable.apply(prunable.suggest(trial))
        rate = trial.suggest_float("rate", 0.003, 0.1, log=True)  # any parameters of yours
        loss = 0.0
        for stage in range(STAGES):
            train(smaller, data["train"], rate)
            loss, _ = loss_and_accuracy(smaller, data["search"])
            trial.report(loss, stage)
            if trial.should_prune():
                raise optuna.TrialPruned
        return loss

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.SuccessiveHalvingPruner(reduction_factor=2)
    study = optuna.create_study(sampler=prunable.sampler(seed=0), pruner=pruner)
    study.optimize(objective, n_trials=TRIALS)

    policy = prunable.policy(study.best_params)
    share = prunable.costs(policy).macs / prunable.costs(autoprune.Policy({})).macs
    stopped = sum(trial.state == optuna.trial.TrialState.PRUNED for trial in study.trials)
    print(f"{len(study.trials)} trials, {stopped} of them stopped early")
    print(f"dense model: loss {loss_and_accuracy(model, data['search'])[0]:.4f}")
    print(f"best policy: loss {study.best_value:.4f} at {share:.1%} of the multiply-adds")
    for unit, choice in policy.items():
        print(f"  {unit}: {choice.sparsity:.1%} removed by {choice.method}")


if __name__ == "__main__":
    main()
