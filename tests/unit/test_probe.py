"""Probes: what is shared between them changes no number, and costs less."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from autoprune.core.policy import Choice, Policy
from autoprune.core.probing import Probing
from autoprune.core.recovery import Recovery
from autoprune.cost.model import CostModel
from autoprune.errors import ConfigError, DataError
from autoprune.evaluation.measuring.measure import measure
from autoprune.evaluation.probing.drawn import CHUNK
from autoprune.evaluation.probing.forwards import MismatchError, replayed
from autoprune.evaluation.probing.probe import Prober, probe_fingerprint
from autoprune.evaluation.probing.probed import Probed
from autoprune.evaluation.pruning.importance import rank_atoms
from autoprune.evaluation.reconstruction.recalibrate import recalibrate
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.surgery.discover import discover
from autoprune.tasks import Classification, Custom

CLASSES, SIDE = 3, 6
PROBING = Probing(samples=24, calibration=16)


def batches(seed: int, count: int = 3, samples: int = 8) -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        classes = torch.randint(CLASSES, (samples,), generator=rng)
        noise = torch.randn(samples, 3, SIDE, SIDE, generator=rng)
        found.append((noise + classes.reshape(-1, 1, 1, 1), classes))
    return found


def conv(inside: int, out: int, groups: int = 1, kernel: int = 3) -> nn.Sequential:
    layer = nn.Conv2d(inside, out, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(out), nn.ReLU6(inplace=True))


class Dense(nn.Module):
    """Branches that are joined, and an activation in place whose input is read again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = conv(3, 8), conv(8, 4), conv(12, 4)
        self.left, self.right = conv(16, 4, kernel=1), conv(16, 4)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x) - 0.5
        x = torch.cat([x, self.one(self.relu(x))], 1)
        x = torch.cat([x, self.two(x)], 1)
        x = torch.cat([self.left(x), self.right(x)], 1)
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class Inverted(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        wide = 2 * width
        self.body = nn.Sequential(
            conv(width, wide, kernel=1),
            conv(wide, wide, groups=wide),
            nn.Conv2d(wide, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.body(x)
        return y


class Mobile(nn.Module):
    """Inverted residuals, as in MobileNetV2."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(conv(3, 8), Inverted(8), Inverted(8), conv(8, 16, kernel=1))
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(16, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x).mean((2, 3)))
        return logits


class Twice(nn.Module):
    """A stage that is called twice, before and after another."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shared, self.last = conv(3, 8), conv(8, 8), conv(8, 12)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shared(self.shared(self.stem(x)))
        logits: Tensor = self.head(self.last(x).mean((2, 3)))
        return logits


class Tap(nn.Module):
    """Leaves what it gives where somebody else reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = conv(3, 8)
        self.seen: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.seen = self.layer(x)
        return self.seen * 2


class Leaking(nn.Module):
    """Reads what a module left: its outputs cannot stand for it."""

    def __init__(self) -> None:
        super().__init__()
        self.tap, self.last = Tap(), conv(8, 12)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = self.tap(x)
        assert self.tap.seen is not None
        logits: Tensor = self.head(self.last(y + self.tap.seen).mean((2, 3)))
        self.tap.seen = None
        return logits


class Borrowing(nn.Module):
    """Uses a layer's weight early, without calling the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.middle = conv(3, 8), conv(8, 8)
        self.late = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(self.stem(x), self.late.weight)
        logits: Tensor = self.head(self.late(self.middle(x)).mean((2, 3)))
        return logits


def scorer_of(model: nn.Module, methods: Sequence[str] = ("channel.l1",)) -> Scorer:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    data = {"train": batches(1), "search": batches(2), "test": batches(3)}
    task, model = Classification(data), model.eval()
    recalibrate(model, task, 3, "cpu")
    plan = discover(model, [data["search"][0][0][:2]], np.random.default_rng(0))
    importance = rank_atoms(model, plan, task, methods, 2, "cpu")
    return Scorer(model, plan, importance, CostModel(model, plan), task, Recovery(), 0, "cpu")


def probes(
    scorer: Scorer, limit: int = 2**29, method: str = "channel.l1"
) -> dict[str, list[Probed]]:
    prober = Prober(scorer, PROBING, limit)
    kinds = scorer.plan.kinds
    units = [unit for unit in kinds if kinds[unit] == "channel"]
    units.sort(key=prober.first_touch)
    return {
        unit: prober.probe(unit, [Policy({unit: Choice(method, s)}) for s in (0.25, 0.5, 0.75)])
        for unit in units
    }


def numbers(found: dict[str, list[Probed]]) -> dict[str, list[tuple[float | None, ...]]]:
    return {u: [(one.loss, one.quality, one.stderr) for one in own] for u, own in found.items()}


def cost(found: dict[str, list[Probed]]) -> float:
    return sum(one.sample_forwards for own in found.values() for one in own)


@pytest.mark.parametrize("make", [Dense, Mobile, Twice, Leaking, Borrowing])
def test_sharing_changes_no_number(make: Callable[[], nn.Module]) -> None:
    scorer = scorer_of(make())
    before = {name: tensor.clone() for name, tensor in scorer.model.state_dict().items()}
    shared, alone = probes(scorer), probes(scorer, limit=0)
    assert len(shared) > 1
    assert numbers(shared) == numbers(alone)
    assert all(one.reason is None for own in shared.values() for one in own)
    assert cost(probes(scorer)) == cost(shared)
    assert {n: m for n, m in vars(scorer.model).items() if n == "forward"} == {}
    state = scorer.model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in before.items())


def test_sharing_changes_no_number_in_a_residual_net(net: nn.Module, task: Classification) -> None:
    plan = discover(net, [next(task.batches("search"))[0][:2]], np.random.default_rng(0))
    importance = rank_atoms(net, plan, task, ["channel.l1"], 2, "cpu")
    scorer = Scorer(net, plan, importance, CostModel(net, plan), task, Recovery(), 0, "cpu")
    assert numbers(probes(scorer)) == numbers(probes(scorer, limit=0))


@pytest.mark.parametrize("make", [Dense, Mobile, Twice])
def test_sharing_saves_most_of_what_runs_before(make: Callable[[], nn.Module]) -> None:
    scorer = scorer_of(make())
    last = list(probes(scorer))[-1]
    shared, alone = probes(scorer)[last], probes(scorer, limit=0)[last]
    assert cost({"": shared}) < 0.6 * cost({"": alone})


def test_a_memory_for_part_of_the_batches_changes_no_number() -> None:
    scorer = scorer_of(Mobile())
    whole, part = probes(scorer), probes(scorer, limit=40_000)
    assert numbers(part) == numbers(whole)
    assert cost(whole) < cost(part) < cost(probes(scorer, limit=0))


@pytest.mark.parametrize("limit", [0, 40_000, 2**29])
@pytest.mark.parametrize("make", [Dense, Mobile, Twice])
def test_the_cost_is_what_really_ran(make: Callable[[], nn.Module], limit: int) -> None:
    scorer = scorer_of(make())
    with FlopCounterMode(display=False) as counted:
        found = probes(scorer, limit)
    dense = Prober(scorer, PROBING, limit).dense.sample_forwards
    traced = 2  # samples of the forward that the course was seen on
    ran = counted.get_total_flops() / 2 / scorer.cost.dense.macs
    assert cost(found) + dense + traced == pytest.approx(ran)


def test_a_probe_is_a_cut_recalibrated_and_measured() -> None:
    scorer = scorer_of(Mobile())
    first = min(scorer.plan.units, key=Prober(scorer, PROBING).first_touch)
    policy = Policy({first: Choice("channel.l1", 0.5)})
    found = Prober(scorer, PROBING).probe(first, [policy])[0]
    model = scorer.build(policy)  # everything comes after the first unit: all norms are afresh
    recalibrate(model, scorer.task, 2, "cpu")
    by_hand = measure(model, scorer.task, "search", "cpu")
    assert found.loss == pytest.approx(by_hand.loss, abs=1e-6)
    assert found.quality == by_hand.quality


def test_norms_take_means_where_a_task_puts_the_model_into_eval_mode() -> None:
    def likelihood(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return -F.cross_entropy(model(batch[0]), batch[1], reduction="none")

    scorer = scorer_of(Mobile())
    data = {split: scorer.task.loader(split) for split in ("train", "search", "test")}
    task = Custom(data, evaluate=likelihood)
    first = min(scorer.plan.units, key=Prober(scorer, PROBING).first_touch)
    policy = Policy({first: Choice("channel.l1", 0.5)})
    usual = Prober(scorer, PROBING).probe(first, [policy])[0].loss
    own = Prober(replace(scorer, task=task), PROBING).probe(first, [policy])[0].loss
    assert own == pytest.approx(usual, abs=1e-5)


class InPlace(Twice):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.sub_(0.3).div_(0.5))


def test_batches_that_are_kept_stay_as_they_were_drawn() -> None:
    scorer = scorer_of(InPlace())
    unit = next(iter(scorer.plan.of("channel")))
    prober, policy = Prober(scorer, PROBING), Policy({unit: Choice("channel.l1", 0.5)})
    first, again = (prober.probe(unit, [policy])[0] for _ in range(2))
    assert (first.reason, first.loss) == (None, again.loss)


def test_norms_before_the_unit_keep_their_statistics() -> None:
    scorer = scorer_of(Mobile())
    prober = Prober(scorer, PROBING)
    last = max(scorer.plan.of("channel"), key=prober.first_touch)
    policy = Policy({last: Choice("channel.l1", 0.5)})
    dense = dict(scorer.model.named_buffers())
    stem = next(name for name in dense if name.endswith("running_mean"))
    dense[stem].add_(1.0)  # wrong statistics of the dense model stay in the probe
    off = Prober(scorer, PROBING).probe(last, [policy])[0]
    dense[stem].sub_(1.0)
    assert off.loss != prober.probe(last, [policy])[0].loss


def test_noise_is_that_of_paired_differences() -> None:
    scorer = scorer_of(Twice())
    unit = next(iter(scorer.plan.of("channel")))
    policy = Policy({unit: Choice("channel.l1", 0.5)})
    found = Prober(scorer, PROBING).probe(unit, [policy])[0]
    size = PROBING.samples // 4
    assert size <= CHUNK
    model = scorer.build(policy)
    recalibrate(model, scorer.task, 2, "cpu")
    parts = [p for x, y in scorer.task.batches("search") for p in _halves(x, y)]
    with torch.no_grad():
        both = (model, scorer.model)
        losses = [[float(F.cross_entropy(m(x), y)) for x, y in parts] for m in both]
    gaps = np.subtract(losses[0], losses[1])
    assert found.stderr == pytest.approx(gaps.std(ddof=1) / len(gaps) ** 0.5, rel=1e-3)


def _halves(x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(x[:4], y[:4]), (x[4:], y[4:])]  # 8 samples in parts of at most 6


@pytest.mark.parametrize(
    ("kind", "method", "sparsity"),
    [
        ("block", "block.drop", 1.0),
        ("weights", "unstructured.l1", 0.5),
        ("weights", "2:4.l1", 0.5),
    ],
)
def test_blocks_and_single_weights_are_probed_too(kind: str, method: str, sparsity: float) -> None:
    scorer = scorer_of(Mobile(), [method])
    units = [unit for unit, own in scorer.plan.kinds.items() if own == kind]
    found = []
    for limit in (2**29, 0):
        prober = Prober(scorer, PROBING, limit)
        units.sort(key=prober.first_touch)
        policies = {unit: Policy({unit: Choice(method, sparsity)}) for unit in units}
        found.append({unit: prober.probe(unit, [policies[unit]]) for unit in units})
    assert units
    assert numbers(found[0]) == numbers(found[1])
    assert cost(found[0]) < cost(found[1])
    assert {one.loss for own in found[0].values() for one in own} != {prober.dense.loss}


class Fragile(nn.Module):
    """Grown up, it gives no numbers below six channels, and raises below three."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, CLASSES)
        self.grown_up = False  # its unit would not be verified as it is later

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).mean((2, 3))
        if self.grown_up and x.shape[1] < 3:
            raise ValueError("too thin")
        logits: Tensor = self.head(x) / (0.0 if self.grown_up and x.shape[1] < 6 else 1.0)
        return logits


def test_a_probe_that_fails_has_a_reason_and_leaves_the_others_alone() -> None:
    scorer = scorer_of(Fragile())
    scorer.model.grown_up = True  # type: ignore[assignment]
    policies = [Policy({"stem": Choice("channel.l1", share)}) for share in (0.25, 0.5, 0.75)]
    good, odd, broken = Prober(scorer, PROBING).probe("stem", policies)
    assert good.loss is not None
    assert good.reason is None
    assert (odd.loss, odd.quality) == (None, None)
    assert odd.reason == "The loss on the search split is nan."
    assert broken.loss is None
    assert broken.reason is not None
    assert broken.reason.startswith("ValueError: too thin")
    assert broken.sample_forwards < odd.sample_forwards + good.sample_forwards


class Says:
    """A metric that gives a number, or raises, whatever it takes in."""

    def __init__(self, answer: float | Exception) -> None:
        self.answer = answer

    def update(self, outputs: Any, batch: Any) -> None:
        pass

    def compute(self) -> float:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_probe_fails_by_its_metric_as_a_score_does(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = scorer_of(Fragile())
    cut: list[float | Exception] = [0.5, ValueError("only one class"), math.nan]
    answers = iter([0.9, *cut])  # the dense model is measured first
    monkeypatch.setattr(scorer.task, "metric", lambda: Says(next(answers)))
    policies = [Policy({"stem": Choice("channel.l1", share)}) for share in (0.25, 0.5, 0.75)]
    good, broken, odd = Prober(scorer, PROBING).probe("stem", policies)
    assert (good.quality, good.reason) == (0.5, None)
    assert (broken.loss, broken.quality) == (None, None)
    assert str(broken.reason).startswith("ValueError: only one class")
    assert (odd.loss, odd.reason) == (None, "The metric on the search split is nan.")
    assert odd.sample_forwards > 0


def test_a_dense_model_without_a_loss_is_refused() -> None:
    scorer = scorer_of(Twice())
    nn.init.constant_(scorer.model.get_parameter("head.bias"), float("nan"))
    with pytest.raises(DataError, match="dense model cannot be measured: The loss"):
        Prober(scorer, PROBING)


def test_a_loader_that_fails_is_told() -> None:
    scorer = scorer_of(Twice())
    bad = Classification({key: [("odd",)] for key in ("train", "search", "test")})
    with pytest.raises(DataError, match="loader must yield"):
        Prober(replace(scorer, task=bad), PROBING)


def test_samples_are_as_many_as_asked_for_or_as_there_are() -> None:
    scorer = scorer_of(Twice())
    assert Prober(scorer, Probing(samples=8, calibration=8)).samples == 8
    assert Prober(scorer, Probing(samples=512)).samples == 24
    # in whole parts: batches of 8 come apart to 2, 3 and 3 samples
    assert Prober(scorer, Probing(samples=13)).samples == 8 + 2 + 3
    assert Prober(scorer, Probing(samples=14)).samples == 8 + 2 + 3 + 3


@pytest.mark.parametrize("output", [None, 1.0])
def test_a_module_that_is_called_less_often_than_it_was_is_noticed(output: object) -> None:
    model = nn.Sequential(nn.Identity(), nn.Identity())
    with (
        pytest.raises(MismatchError, match="less often"),
        replayed(model, {"0": [torch.zeros(1), output], "1": [torch.zeros(1)]}),
    ):
        model(torch.zeros(1))


def test_ways_of_probing_that_differ_have_other_fingerprints() -> None:
    scorer = scorer_of(Twice())
    ways = [
        probe_fingerprint(scorer, PROBING),
        probe_fingerprint(scorer, replace(PROBING, samples=25)),
        probe_fingerprint(scorer, replace(PROBING, calibration=17)),
        probe_fingerprint(replace(scorer, seed=1), PROBING),
    ]
    assert len(set(ways)) == 4
    assert probe_fingerprint(scorer, replace(PROBING, levels="full")) == ways[0]


@pytest.mark.parametrize(
    "given", [{"samples": 0}, {"samples": 1.5}, {"calibration": 0}, {"levels": "all"}]
)
def test_settings_out_of_range_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(given))):
        Probing(**given)  # type: ignore[arg-type]
