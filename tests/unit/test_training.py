"""The training loop: rates, clipping, averages, falls, and stopping anywhere."""

import copy
import io
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, Dataset, TensorDataset

import autoprune.evaluation.training.updates as updates_room
from autoprune.core.recovery import Recovery
from autoprune.errors import CandidateError, ConfigError, DataError
from autoprune.evaluation.randomness import Randomness, restore, to_dict
from autoprune.evaluation.training.fine_tune import MOST_HALVINGS, FineTuning, fine_tune
from autoprune.evaluation.training.good_states import GOOD_EVERY
from autoprune.evaluation.training.precision import Precision, precision_of
from autoprune.evaluation.training.train_batches import TrainBatches
from autoprune.evaluation.training.updates import clip_norm_of
from autoprune.surgery.sparse import kept_at_zero, set_to_zero
from autoprune.tasks import Classification

PLAIN = Recovery(learning_rate=0.1, momentum=0.0, weight_decay=0.0)
Nets = Callable[[], nn.Module]


def loader(workers: int = 0, generator: torch.Generator | None = None) -> DataLoader[Any]:
    """Return what shuffles 44 images into batches of 8, so that a pass ends with half a batch."""
    rng = torch.Generator().manual_seed(1)
    classes = torch.randint(3, (44,), generator=rng)
    images = torch.randn(44, 1, 6, 6, generator=rng) + classes.reshape(-1, 1, 1, 1)
    data = TensorDataset(images, classes)
    return DataLoader(data, 8, shuffle=True, num_workers=workers, generator=generator)


def task_of(train: Any) -> Classification:
    return Classification(dict.fromkeys(("train", "search", "test"), train))


@pytest.fixture
def nets(net: nn.Module) -> Nets:
    """Return what gives the same network again and again, with dropout in it."""
    net.add_module("head", nn.Sequential(nn.Dropout(0.3), net.get_submodule("head")))
    return lambda: copy.deepcopy(net)


def trained(model: nn.Module, steps: int, recovery: Recovery, **more: Any) -> nn.Module:
    training = FineTuning(
        model, task_of(loader()), steps, recovery, "cpu", randomness=Randomness(5), **more
    )
    training.advance(steps)
    return training.kept


class InPlace(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Any:
        return self.inner(x.sub_(0.3))


def test_the_dense_model_reads_the_batch_as_it_was(nets: Nets) -> None:
    seen: list[Tensor] = []
    teacher = InPlace(nets())
    teacher.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    trained(InPlace(nets()), 1, Recovery(distill=0.5), teacher=teacher)
    drawn: list[Tensor] = []
    student = InPlace(nets())
    student.register_forward_pre_hook(lambda _, given: drawn.append(given[0].clone()))
    trained(student, 1, Recovery(distill=0.0))
    assert torch.equal(seen[0], drawn[0])


def same(one: nn.Module, other: nn.Module) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def rates_of(recovery: Recovery, steps: int, task: Classification, net: nn.Module) -> list[float]:
    rates: list[float] = []
    fine_tune(net, task, steps, recovery, "cpu", after=lambda step, rate: rates.append(rate))
    return rates


# --- rates


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 25])
def test_one_cycle_is_torchs(net: nn.Module, task: Classification, steps: int) -> None:
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    schedule = OneCycleLR(optimiser, 0.1, total_steps=steps, cycle_momentum=False)
    expected = []
    for _ in range(steps):
        expected.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    own = replace(PLAIN, rate_schedule="one-cycle", momentum=0.9)
    assert rates_of(own, steps, task, net) == expected
    assert steps < 10 or max(expected) > 0.95 * 0.1


def test_a_constant_rate_stays_and_a_cosine_falls(net: nn.Module, task: Classification) -> None:
    steady = replace(PLAIN, rate_schedule="constant")
    assert rates_of(steady, 4, task, net) == [0.1] * 4
    falling = rates_of(PLAIN, 4, task, net)
    by_hand = [0.05 * (1 + np.cos(np.pi * at / 4)) for at in range(4)]
    assert falling == pytest.approx(by_hand)


# --- clipping


def test_clipping_bounds_the_step(net: nn.Module, task: Classification) -> None:
    def step_of(clip: float) -> float:
        model = copy.deepcopy(net)
        fine_tune(model, task, 1, replace(PLAIN, clip_norm=clip), "cpu")
        pairs = zip(model.parameters(), net.parameters(), strict=True)
        return float(torch.cat([(a - b).detach().flatten() for a, b in pairs]).norm())

    free = step_of(0.0)
    assert free > 0.1 * 0.01 * 1.5
    assert step_of(0.01) == pytest.approx(0.1 * 0.01, rel=1e-3)
    assert step_of(1e6) == pytest.approx(free)


def test_unasked_gradients_are_clipped_where_layers_are_those_of_transformers(
    net: nn.Module,
) -> None:
    for layer in (nn.LayerNorm(4), nn.RMSNorm(4), nn.MultiheadAttention(4, 2)):
        assert clip_norm_of(PLAIN, nn.Sequential(net, layer)) == 1.0
        assert clip_norm_of(replace(PLAIN, clip_norm=0.0), nn.Sequential(net, layer)) == 0.0
    assert clip_norm_of(PLAIN, net) == 0.0
    assert clip_norm_of(replace(PLAIN, clip_norm=2.0), net) == 2.0


# --- averages


def test_the_average_is_that_by_hand(nets: Nets) -> None:
    states: list[dict[str, Tensor]] = []
    model = nets()

    def note(step: int, rate: float) -> None:
        states.append({n: t.clone() for n, t in model.state_dict().items()})

    found = trained(model, 15, replace(PLAIN, ema=0.5), after=note).state_dict()
    by_hand = states[0]
    for count, state in enumerate(states[1:], start=1):
        decay = min(0.5, count / (9 + count))
        for name, tensor in state.items():
            if tensor.is_floating_point():
                by_hand[name] = decay * by_hand[name] + (1 - decay) * tensor
            else:
                by_hand[name] = tensor
    torch.testing.assert_close(found, by_hand)
    assert int(found["norm.num_batches_tracked"]) == 15
    assert not torch.equal(found["norm.running_mean"], states[-1]["norm.running_mean"])


def test_the_average_leaves_training_alone_and_is_what_is_kept(nets: Nets) -> None:
    model, plain = nets(), trained(nets(), 6, PLAIN)
    kept = trained(model, 6, replace(PLAIN, ema=0.9))
    assert same(model, plain)
    assert not same(kept, plain)
    assert not any(module.training for module in kept.modules())


def test_before_the_first_step_the_model_itself_is_kept(nets: Nets, task: Classification) -> None:
    for steps in (0, 3):
        model = nets()
        training = FineTuning(model, task, steps, replace(PLAIN, ema=0.9), "cpu")
        assert training.kept is model


# --- mixed precision


@pytest.mark.parametrize(
    ("amp", "device", "major", "expected"),
    [
        ("auto", "cpu", 0, None),
        ("none", "cuda:0", 9, None),
        ("bfloat16", "cpu", 0, torch.bfloat16),
        ("float16", "cuda:0", 6, torch.float16),
        ("auto", "cuda:0", 6, None),
        ("auto", "cuda:0", 7, torch.float16),
        ("auto", "cuda:0", 8, torch.bfloat16),
        ("auto", "cuda:0", 9, torch.bfloat16),
    ],
)
def test_what_is_computed_in(
    amp: Any, device: str, major: int, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda at: (major, 0))
    assert precision_of(amp, device) == expected


def test_float16_without_a_gpu_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"recovery\.amp: float16 needs a CUDA.*bfloat16, or au"):
        precision_of("float16", "cpu")


def test_bfloat16_trains_nearly_alike_in_full_weights(nets: Nets) -> None:
    full, mixed = (trained(nets(), 4, replace(PLAIN, amp=amp)) for amp in ("auto", "bfloat16"))
    assert not same(full, mixed)
    for one, other in zip(full.parameters(), mixed.parameters(), strict=True):
        assert other.dtype == torch.float32
        torch.testing.assert_close(one, other, atol=0.02, rtol=0.1)


def test_losses_are_computed_in_full_precision() -> None:
    """Some cannot be in less: autocast refuses binary cross entropy."""
    images = [(torch.rand(4, 3), torch.tensor([0, 1, 1, 0])) for _ in range(2)]
    linear = nn.Linear(3, 1)
    net, before = nn.Sequential(linear, nn.Sigmoid()), linear.weight.detach().clone()

    class Share(Classification):
        def loss(self, outputs: Any, batch: Any) -> torch.Tensor:
            assert outputs.dtype == torch.float32
            return nn.functional.binary_cross_entropy(outputs[:, 0], batch[1].float())

    task = Share({"train": images, "search": images, "test": images})
    fine_tune(net, task, 2, replace(PLAIN, amp="bfloat16"), "cpu")
    assert not torch.equal(linear.weight, before)


def test_the_scaler_leaves_out_a_step_that_overflows() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimiser = torch.optim.SGD([weight], lr=1.0)
    precision = Precision(torch.float16, "cpu")
    assert precision.scaler is not None
    inside = []

    def forward() -> dict[str, torch.Tensor]:
        inside.append(torch.ones(2, 2) @ weight)
        return {"logits": inside[0], "labels": torch.ones(2, dtype=torch.int64)}

    found = precision.outputs(forward)
    assert inside[0].dtype == torch.float16
    assert [one.dtype for one in found.values()] == [torch.float32, torch.int64]
    precision.backward((weight * 1e30).sum() * 1e30, optimiser)
    assert not precision.step(optimiser)
    assert weight.tolist() == [1, 1]
    optimiser.zero_grad()
    precision.backward(weight.sum() * 0.25, optimiser)
    assert weight.grad is not None
    assert weight.grad.tolist() == [0.25, 0.25], "at their own scale, for clipping"
    assert precision.step(optimiser)
    assert weight.tolist() == [0.75, 0.75]


# --- falls


class Falling(Classification):
    """Its loss becomes NaN at some of the calls."""

    def __init__(self, data: Any, *falls: int) -> None:
        super().__init__(data)
        self.calls, self.falls = 0, falls

    def loss(self, outputs: Any, batch: Any) -> Tensor:
        self.calls += 1
        loss = super().loss(outputs, batch)
        return loss * float("nan") if self.calls - 1 in self.falls else loss


def test_a_fall_goes_back_to_the_last_good_state_with_half_the_rate(nets: Nets) -> None:
    steps, fall = 30, GOOD_EVERY + 4
    rates: dict[int, list[float]] = {}
    states: dict[int, list[Tensor]] = {}
    model = nets()

    def note(step: int, rate: float) -> None:
        rates.setdefault(step, []).append(rate)
        states.setdefault(step, []).append(model.get_parameter("stem.weight").clone())

    task = Falling(task_of(loader())._loaders, fall)
    recovery = replace(PLAIN, momentum=0.9, learning_rate=0.02)
    training = FineTuning(
        model, task, steps, recovery, "cpu", after=note, randomness=Randomness(5)
    )
    samples = training.advance(steps)
    assert training.done == steps
    assert task.calls == steps + 5, "what came after the good state was done again"
    assert samples > 8 * steps
    assert sorted(rates) == [*range(steps)]
    for step in range(GOOD_EVERY, fall):
        once, again = rates[step]
        assert again == pytest.approx(once / 2)
    undisturbed = [0.01 * (1 + np.cos(np.pi * at / steps)) for at in range(steps)]
    late = [rates[at][-1] for at in range(GOOD_EVERY, steps)]
    assert late == pytest.approx([rate / 2 for rate in undisturbed[GOOD_EVERY:]])
    first, second = (state - states[GOOD_EVERY - 1][0] for state in states[GOOD_EVERY])
    torch.testing.assert_close(second, first / 2, atol=1e-6, rtol=1e-3)  # same batch and dropout


def test_after_a_fall_the_loss_is_near_the_undisturbed_one(nets: Nets) -> None:
    images, classes = next(iter(DataLoader(loader().dataset, 44)))

    def loss_of(model: nn.Module) -> float:
        return float(nn.functional.cross_entropy(model(images), classes).detach())

    def loss_with(*falls: int) -> float:
        model, task = nets(), Falling(task_of(loader())._loaders, *falls)
        recovery = replace(PLAIN, learning_rate=0.1, momentum=0.9)
        training = FineTuning(model, task, 60, recovery, "cpu", randomness=Randomness(5))
        training.advance(60)
        return loss_of(model)

    start, calm = loss_of(nets()), loss_with()
    assert calm < 0.5 * start
    assert loss_with(17) < calm + 0.1 * (start - calm)


def test_a_state_that_leads_to_a_fall_again_is_given_up_for_the_start(nets: Nets) -> None:
    seen: list[int] = []
    task = Falling(task_of(loader())._loaders, GOOD_EVERY + 2, GOOD_EVERY + 4)
    training = FineTuning(
        *(nets(), task, 20, PLAIN, "cpu"),
        after=lambda step, rate: seen.append(step),
        randomness=Randomness(5),
    )
    training.advance(20)
    assert seen == [*range(12), 10, *range(20)]
    assert training.halvings == 2


def test_somebody_who_falls_again_and_again_fails(nets: Nets) -> None:
    task = Falling(task_of(loader())._loaders, *range(5, 99))
    training = FineTuning(nets(), task, 20, PLAIN, "cpu", randomness=Randomness(5))
    with pytest.raises(CandidateError, match=r"training loss became nan, .*halved 3 times"):
        training.advance(20)
    assert training.halvings == MOST_HALVINGS
    assert task.calls == 5 + 1 + MOST_HALVINGS


def test_a_model_that_falls_at_once_is_not_tried_again(nets: Nets) -> None:
    task = Falling(task_of(loader())._loaders, *range(99))
    with pytest.raises(CandidateError, match=r"training loss became nan\.$"):
        fine_tune(nets(), task, 20, PLAIN, "cpu")
    assert task.calls == 1


# --- stopping anywhere

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "all": {"rate_schedule": "one-cycle", "ema": 0.8, "clip_norm": 0.5, "momentum": 0.9},
    "steady": {"rate_schedule": "constant", "momentum": 0.5, "amp": "bfloat16"},
    "taught": {"distill": 0.5, "distill_features": 1.0, "weight_decay": 0.1},
}


def stored(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state as it is read from a file in another process."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    found: dict[str, Any] = torch.load(file, weights_only=True)
    return found


def training_of(nets: Nets, steps: int, settings: dict[str, Any], train: Any) -> FineTuning:
    return FineTuning(
        *(nets(), task_of(train), steps, replace(PLAIN, **settings), "cpu"),
        teacher=nets(),
        randomness=Randomness(5, train),
    )


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_stopping_anywhere_is_one_go(nets: Nets, settings: dict[str, Any]) -> None:
    steps = 14  # two passes and a bit
    whole = training_of(nets, steps, settings, loader())
    whole.advance(steps)
    training = training_of(nets, steps, settings, loader())
    for at in range(1, steps + 1):
        training.advance(at)
        state = stored(training.state_dict())
        torch.rand(7), random.random(), np.random.rand(3)
        training = training_of(nets, steps, settings, loader())
        training.load_state_dict(state)
        assert training.done == at
    assert same(training.kept, whole.kept)
    assert same(training._model, whole._model)


def test_the_scale_of_gradients_goes_on_too(nets: Nets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates_room, "precision_of", lambda amp, device: torch.float16)
    whole, first, second = (training_of(nets, 8, {"clip_norm": 1.0}, loader()) for _ in range(3))
    whole.advance(8)
    first.advance(3)
    state = stored(first.state_dict())
    assert state["parts"]["scaler"]["_growth_tracker"] == 3
    second.load_state_dict(state)
    second.advance(8)
    assert same(second.kept, whole.kept)
    assert second.state_dict()["parts"]["scaler"] == whole.state_dict()["parts"]["scaler"]


@pytest.mark.parametrize("stop", [3, 6, 9])
@pytest.mark.parametrize("kind", ["workers", "generator"])
def test_loaders_with_workers_or_generators_go_on_too(nets: Nets, stop: int, kind: str) -> None:
    def make() -> DataLoader[Any]:
        return loader(workers=1) if kind == "workers" else loader(generator=torch.Generator())

    whole = training_of(nets, 10, {}, make())
    whole.advance(10)
    first = training_of(nets, 10, {}, make())
    first.advance(stop)
    second = training_of(nets, 10, {}, make())
    second.load_state_dict(stored(first.state_dict()))
    second.advance(10)
    assert same(second.kept, whole.kept)


def test_asking_for_the_state_changes_nothing(nets: Nets) -> None:
    whole, asked = (training_of(nets, 8, SETTINGS["all"], loader()) for _ in range(2))
    whole.advance(8)
    before = torch.get_rng_state()
    for at in range(9):
        asked.advance(at)
        state = asked.state_dict()
    assert same(asked.kept, whole.kept)
    assert torch.equal(torch.get_rng_state(), before)
    assert state["done"] == 8


def test_a_state_is_not_changed_by_training_on(nets: Nets) -> None:
    training = training_of(nets, 8, SETTINGS["all"], loader())
    training.advance(3)
    state = training.state_dict()
    before = copy.deepcopy(state["parts"])
    again = training_of(nets, 8, SETTINGS["all"], loader())
    again.load_state_dict(state)
    again.advance(8)
    training.advance(8)
    torch.testing.assert_close(state["parts"]["optimiser"], before["optimiser"], rtol=0, atol=0)
    torch.testing.assert_close(state["parts"]["model"], before["model"], rtol=0, atol=0)


def test_a_training_that_was_slowed_down_goes_on_slowly(nets: Nets) -> None:
    task = Falling(task_of(loader())._loaders, 3)
    first = FineTuning(nets(), task, 10, PLAIN, "cpu", randomness=Randomness(5))
    first.advance(5)
    rates: list[float] = []
    second = FineTuning(
        *(nets(), task_of(loader()), 10, PLAIN, "cpu"),
        after=lambda step, rate: rates.append(rate),
        randomness=Randomness(5),
    )
    second.load_state_dict(stored(first.state_dict()))
    second.advance(10)
    assert second.halvings == 1
    by_hand = [0.025 * (1 + np.cos(np.pi * at / 10)) for at in range(5, 10)]
    assert rates == pytest.approx(by_hand)


def test_a_state_of_another_training_is_refused(nets: Nets) -> None:
    state = training_of(nets, 8, {}, loader()).state_dict()
    with pytest.raises(ConfigError, match=r"one of 8 steps .* is one of 9 steps"):
        training_of(nets, 9, {}, loader()).load_state_dict(state)
    with pytest.raises(ConfigError, match=r"with average, batches"):
        training_of(nets, 8, {"ema": 0.5}, loader()).load_state_dict(state)


def test_other_data_that_ends_early_is_told() -> None:
    data = [(torch.zeros(2, 3), torch.tensor([0, 1]))] * 3
    long, short = (TrainBatches(task_of(data[:count])) for count in (3, 2))
    for _ in range(3):
        next(long)
    short.load_state_dict(long.state_dict())
    with pytest.raises(DataError, match="ended after 2 batches, and 3 had been taken"):
        next(short)


def test_what_was_taken_is_read_again_only_where_more_is_needed() -> None:
    class Counting(Dataset[Any]):
        reads = 0

        def __len__(self) -> int:
            return 6

        def __getitem__(self, at: int) -> Any:
            self.reads += 1
            return torch.zeros(3), at

    data = Counting()
    there = TrainBatches(task_of(DataLoader(data, batch_size=2, shuffle=True)))
    next(there), next(there)
    state = there.state_dict()
    here = TrainBatches(task_of(DataLoader(data, batch_size=2, shuffle=True)))
    data.reads = 0
    here.load_state_dict(state)
    assert here.state_dict() == state
    assert data.reads == 0
    random_state = torch.get_rng_state()
    assert torch.equal(next(here)[1], next(there)[1])
    assert torch.equal(torch.get_rng_state(), random_state)
    assert data.reads == 8  # six here, two there


def test_where_all_sources_stand_survives_a_file() -> None:
    own = torch.Generator().manual_seed(3)
    source = loader(generator=own)
    with torch.random.fork_rng([]):
        np.random.standard_normal()  # half a pair is kept back

        def draw() -> list[Any]:
            numbers = [random.random(), random.gauss(0, 1), np.random.standard_normal()]
            return [*numbers, float(torch.rand(())), float(torch.rand((), generator=own))]

        state = stored(to_dict([source]))
        expected = draw()
        draw()
        restore(state, [source])
        assert draw() == expected


def test_weights_that_are_kept_at_zero_stay_there_in_the_average(nets: Nets) -> None:
    model = nets()
    weight = model.get_parameter("inner.weight")
    mask = torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)) > 0.5
    set_to_zero(model, {"inner.weight": mask})
    kept = trained(model, 12, replace(PLAIN, ema=0.9, weight_decay=0.1, clip_norm=1.0))
    for one in (model, kept):
        assert kept_at_zero(one) == ["inner.weight"]
        assert not one.get_parameter("inner.weight")[~mask].any()
