"""The user's own training function: called rightly, checked, blamed, and paid for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.finalists.race import recover_finalists
from autoprune.core.policy import Choice, Policy
from autoprune.core.progress import Progress
from autoprune.core.recover_function import RecoverFunction
from autoprune.core.recovery import Recovery
from autoprune.errors import CandidateError, ConfigError
from autoprune.evaluation.randomness import Randomness
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.evaluation.training.fine_tune import fine_tune
from autoprune.evaluation.training.own_training import OwnTraining, size_of
from autoprune.tasks import Classification

POLICIES = [Policy({"stem": Choice("channel.l1", at / 8)}) for at in range(1, 5)]
RECOVERY = Recovery(score_steps=0, recover_steps=8, calibration_batches=1, reconstruct=False)
Train = Callable[[nn.Module, int], Any]


def brighter(model: nn.Module, epochs: int) -> None:
    with torch.no_grad():
        model.get_parameter("head.bias").add_(1)


def training_of(net: nn.Module, function: Train, steps: int = 7) -> OwnTraining:
    recover = RecoverFunction.of(function)
    return OwnTraining(net, recover, steps, (3, 24), "cpu", Randomness(5))


# --- the call


def test_it_is_called_with_a_model_in_train_mode_and_epochs(net: nn.Module) -> None:
    calls: list[Any] = []

    def train(model: nn.Module, epochs: int) -> None:
        calls.append((epochs, all(module.training for module in model.modules())))
        calls.append([float(torch.rand(()))])
        brighter(model, epochs)

    before = net.get_parameter("head.bias").clone()
    state = torch.get_rng_state()
    training = training_of(net, train)
    assert training.advance(2) == 3 * 24, "7 steps are three passes of 3 batches, 24 samples each"
    assert (training.advance(7), training.done) == (0, 7)
    assert calls[0] == (3, True)
    assert len(calls) == 2
    assert torch.equal(training.kept.get_parameter("head.bias"), before + 1)
    assert not any(module.training for module in training.kept.modules())
    assert torch.equal(torch.get_rng_state(), state)
    training_of(net, train).advance(7)
    assert calls[1] == calls[3], "it draws the same numbers each time"


def test_without_steps_it_is_not_called(net: nn.Module) -> None:
    training = training_of(net, lambda model, epochs: 1 / 0, steps=0)
    assert training.advance(0) == 0


def test_a_model_that_is_returned_counts(net: nn.Module) -> None:
    def train(model: nn.Module, epochs: int) -> nn.Module:
        twin = type(net)()
        twin.load_state_dict(model.state_dict())
        brighter(twin, epochs)
        nn.init.zeros_(model.get_parameter("head.bias"))
        return twin

    before = net.get_parameter("head.bias").clone()
    training = training_of(net, train)
    training.advance(7)
    assert training.kept is net
    assert torch.equal(net.get_parameter("head.bias"), before + 1)


class Wider(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.module = net


def other_shape(model: nn.Module, epochs: int) -> None:
    model.add_module("head", nn.Linear(8, 4))


def more(model: nn.Module, epochs: int) -> nn.Module:
    model.add_module("extra", nn.Linear(1, 1))
    return model


@pytest.mark.parametrize(
    ("train", "told"),
    [
        (lambda model, epochs: Wider(model), r"these tensors .*: head\.bias, .*without wrappers"),
        (
            other_shape,
            r"'.*:other_shape' must leave the architecture.*: head\.bias, head\.weight\.",
        ),
        (more, r"extra\.bias, extra\.weight"),
        (lambda model, epochs: 0.9, r"or return the model\. It returned float"),
        (
            lambda model, epochs: epochs["rate"],
            r"<lambda>' raised: TypeError: .* \(.*own_training",
        ),
    ],
)
def test_it_is_blamed_for_what_it_does(net: nn.Module, train: Train, told: str) -> None:
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(ConfigError, match=told):
        training_of(net, train).advance(7)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_weights_that_are_no_numbers_fail_the_candidate(net: nn.Module) -> None:
    def train(model: nn.Module, epochs: int) -> None:
        with torch.no_grad():
            model.get_parameter("stem.weight")[0, 0, 0, 0] = float("nan")

    with pytest.raises(CandidateError, match=r"left NaN or infinite numbers in 'stem\.weight'"):
        training_of(net, train).advance(7)


# --- how much data there is


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        return iter([(torch.zeros(1, 6, 6), 0)] * 20)


def test_batches_and_samples_of_a_pass(task: Classification) -> None:
    def size(train: Any) -> tuple[int, int]:
        return size_of(Classification(dict.fromkeys(("train", "search", "test"), train)))

    data = TensorDataset(torch.zeros(20, 1, 6, 6), torch.zeros(20, dtype=torch.int64))
    assert size_of(task) == (3, 24)
    assert size(DataLoader(data, 8)) == (3, 20)
    assert size(DataLoader(Stream(), 8)) == (3, 20)


# --- what is given


def test_the_source_is_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_text("def recover(model, epochs): ...\n")
    one = RecoverFunction.imported("train.py:recover", tmp_path)
    file.write_text("def recover(model, epochs): ...\n# mended\n")
    two = RecoverFunction.imported("train.py:recover", tmp_path)
    assert one.name == two.name == "train.py:recover"
    assert one.source != two.source
    assert one == replace(two, source=one.source)
    here = RecoverFunction.of(brighter)
    assert here.name.endswith(":brighter")
    assert RecoverFunction.of(here) is here
    assert RecoverFunction.of(partial(brighter)) == here


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("def f(m, e): m.cpu()", "def f(m, e): m.cuda()"),
        ("def f(m, e): m.go(0.1)", "def f(m, e): m.go(0.2)"),
        ("def f(m, e): [m.go(0.1) for _ in e]", "def f(m, e): [m.go(0.2) for _ in e]"),
        ("def f(m, e, rate=0.1): m.go(rate)", "def f(m, e, rate=0.2): m.go(rate)"),
        ("def f(m, e, *, rate=0.1): m.go(rate)", "def f(m, e, *, rate=0.2): m.go(rate)"),
        ("f = (lambda rate: lambda m, e: rate)(1)", "f = (lambda rate: lambda m, e: rate)(2)"),
    ],
)
def test_functions_without_a_file_are_told_apart(one: str, two: str) -> None:
    made: list[RecoverFunction] = []
    for code in (one, two, one):
        names: dict[str, Any] = {"__name__": "notebook"}
        exec(code, names)
        made.append(RecoverFunction.of(names["f"]))
    assert made[0].source == made[2].source != made[1].source


def trained_by(model: nn.Module, epochs: int, rate: Any, layers: Any = ()) -> None: ...


@dataclass
class Settings:
    rate: float


class Mode(Enum):
    FAST, SLOW = 1, 2


class Slotted:
    __slots__ = ("rate",)

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, model: nn.Module, epochs: int) -> None: ...


def test_what_holds_itself_has_an_identity_too() -> None:
    within: list[Any] = []
    within.append(within)
    assert RecoverFunction.of(partial(trained_by, rate=within)).source


class Callable_:
    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def __call__(self, model: nn.Module, epochs: int) -> None: ...

    def method(self, model: nn.Module, epochs: int) -> None: ...


def test_anything_callable_will_do() -> None:
    for given in (Callable_(), Callable_().method, lambda model, epochs: None):
        assert RecoverFunction.of(given).source


@pytest.mark.parametrize(
    "make",
    [
        lambda rate: partial(trained_by, rate=rate),
        lambda rate: partial(partial(trained_by, rate=rate), layers={"a", rate}),
        lambda rate: Callable_(rate=rate, path=Path("here"), net=nn.Linear(1, 1)),
        lambda rate: Callable_(rates=[rate]).method,
        lambda rate: partial(trained_by, rate=Settings(rate)),
        lambda rate: partial(trained_by, rate=np.float32(rate)),
        lambda rate: partial(trained_by, rate=torch.tensor([rate])),
        lambda rate: partial(trained_by, rate=str(rate).encode()),
        lambda rate: partial(trained_by, rate={0.1: torch.optim.SGD, 0.2: torch.optim.Adam}[rate]),
        lambda rate: partial(trained_by, rate={0.1: brighter, 0.2: trained_by}[rate]),
        lambda rate: partial(trained_by, rate={0.1: Mode.FAST, 0.2: Mode.SLOW}[rate]),
        lambda rate: Slotted(rate),
    ],
)
def test_what_is_bound_to_a_function_is_part_of_it(make: Callable[[float], Any]) -> None:
    found = [RecoverFunction.of(make(rate)).source for rate in (0.1, 0.2, 0.1)]
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (3, r"recover must be a function recover\(model, epochs\).*Got int"),
        ("train", r"recover must be FILE\.py:NAME or MODULE:NAME"),
        ("nowhere.py:train", r"recover: there is no file 'nowhere.py'"),
        (lambda model: None, r"cannot be called with two arguments: too many positional"),
        (lambda model, epochs, rate: None, r"two arguments: missing a required argument: 'rate'"),
    ],
)
def test_what_is_no_such_function_is_refused(given: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        RecoverFunction.of(given)


# --- the last round


@pytest.fixture
def evaluations(
    scorer_of: Callable[[Recovery], Scorer], evaluations_by: Callable[[Scorer], Evaluations]
) -> Evaluations:
    return evaluations_by(scorer_of(RECOVERY))


def using(evaluations: Evaluations, function: Train) -> Evaluations:
    recover = RecoverFunction.of(function)
    return replace(evaluations, scorer=replace(evaluations.scorer, recover=recover))


def test_all_finalists_are_trained_once_and_the_best_wins(evaluations: Evaluations) -> None:
    ranked = [evaluations.score(policy) for policy in POLICIES]
    calls: list[int] = []

    def train(model: nn.Module, epochs: int) -> None:
        calls.append(epochs)
        if len(calls) == 2:
            fine_tune(model, evaluations.scorer.task, 60, Recovery(), "cpu")

    events: list[Progress] = []
    own = using(evaluations, train)
    model, winner = recover_finalists(ranked, own, events.append)
    assert calls == [3, 3, 3], "8 steps are three passes of 3 batches"
    assert winner.policy == POLICIES[1]
    assert [len(one.stages) for one in own.finalists()] == [1, 1, 1]
    assert [(event.done, event.total) for event in events] == [(1, 3), (2, 3), (3, 3)]
    share = own.scorer.candidate(POLICIES[1], 8, final=True).share
    looks = 2 * (8 + 24)  # as it was trained, and as it was cut
    assert winner.sample_forwards == pytest.approx(share * (3 * 3 * 24 + looks))
    assert recover_finalists(ranked, own, events.append)[1] == winner
    assert len(calls) == 3, "what is over is not done again"
    assert not model.training


def test_a_finalist_left_with_nan_is_replaced(evaluations: Evaluations) -> None:
    ranked = [evaluations.score(policy) for policy in POLICIES]
    calls: list[int] = []

    def train(model: nn.Module, epochs: int) -> None:
        calls.append(epochs)
        if len(calls) == 1:
            with torch.no_grad():
                model.get_parameter("head.bias").fill_(float("inf"))

    recover_finalists(ranked, using(evaluations, train), lambda event: None)
    measured = {one.policy: bool(one.stages) for one in evaluations.finalists()}
    assert measured == {policy: policy != POLICIES[0] for policy in POLICIES}


def test_another_function_is_another_way(evaluations: Evaluations) -> None:
    ours, own = evaluations.scorer, using(evaluations, brighter).scorer
    assert own.fingerprint(4) == ours.fingerprint(4), "scores do not call it"
    assert own.recover is not None
    other = replace(own, recover=replace(own.recover, source="other"))
    assert len({one.fingerprint(-9) for one in (ours, own, other)}) == 3
