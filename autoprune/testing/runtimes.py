"""What every runtime promises; built-in ones pass the same tests."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from autoprune.core.fingerprint import fingerprint
from autoprune.core.target import Target
from autoprune.cost.latency.runtimes import Runtime
from autoprune.errors import ModelError
from autoprune.surgery.compare import difference, outputs
from autoprune.surgery.nested import Inputs
from autoprune.surgery.tensors import state_tensors
from autoprune.testing.models import CLASSES, Residual

TOLERANCE = 1e-3


class Norms(nn.Module):
    """Batch norm and dropout: in training mode it gives something else, and changes itself."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout()
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, ``batch x classes``."""
        logits: Tensor = self.head(self.drop(torch.relu(self.norm(self.stem(x)))).mean((2, 3)))
        return logits


class Fails(nn.Module):
    """Cannot be run."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Raise, as the sizes do not fit."""
        out: Tensor = self.head(x.flatten(1))
        return out


class RuntimeContract:
    """Subclass it, return your runtime from `make`, and let pytest collect the subclass.

    >>> class TestMine(RuntimeContract):
    ...     name = "mine"
    ...
    ...     def make(self) -> Runtime:
    ...         return Mine()

    Attributes:
        name: The name it is registered by.
    """

    name = "mine"

    def make(self) -> Runtime:
        """Return the runtime."""
        raise NotImplementedError

    def target(self, batch: int = 2) -> Target:
        """Return a target of this runtime that can be measured here."""
        return Target(self.name, batch=batch, threads=1)

    def same(self, make: Callable[[], nn.Module], inputs: Inputs, batch: int) -> None:
        """Assert that a session gives what a model gives for the first samples."""
        model = _seeded(make)
        expected = outputs(model, inputs)
        with self.make().open(model, inputs, self.target(batch)) as session:
            for _ in range(2):
                session.run()
                found = session.outputs()
                assert [x.dtype for x in found] == [torch.float32] * len(expected)
                assert difference(found, [x[:batch] for x in expected]) <= TOLERANCE

    def test_it_takes_its_own_target(self) -> None:
        self.make().check(self.target())

    def test_its_facts_are_texts_and_repeat(self) -> None:
        facts: Mapping[str, str] = self.make().facts(self.target())
        assert facts, "at least a version decides about latencies"
        assert all(isinstance(x, str) for pair in facts.items() for x in pair), f"{facts}"
        assert fingerprint(dict(facts)) == fingerprint(dict(self.make().facts(self.target())))

    def test_a_session_computes_what_the_model_does(self) -> None:
        self.same(Residual, (_images(2),), 2)

    def test_a_model_in_training_mode_is_run_in_eval_mode(self) -> None:
        self.same(lambda: Norms().train(), (_images(2),), 2)

    def test_samples_are_cut_to_the_batch_of_the_target(self) -> None:
        self.same(Residual, (_images(4),), 1)

    def test_samples_are_repeated_up_to_the_batch_of_the_target(self) -> None:
        model, inputs = _seeded(Residual), (_images(2),)
        with self.make().open(model, inputs, self.target(5)) as session:
            (found,) = session.outputs()
        (expected,) = outputs(model, [inputs[0][[0, 1, 0, 1, 0]]])
        assert difference([found], [expected]) <= TOLERANCE

    def test_models_that_are_open_at_once_stay_apart(self) -> None:
        runtime, inputs = self.make(), (_images(2),)
        one, other = _seeded(Residual), _seeded(Residual, seed=1)
        with (
            runtime.open(one, inputs, self.target()) as first,
            runtime.open(other, inputs, self.target()) as second,
        ):
            for session, model in ((first, one), (second, other), (first, one)):
                session.run()
                assert difference(session.outputs(), outputs(model, inputs)) <= TOLERANCE

    def test_the_model_and_the_process_stay_as_they_were(self) -> None:
        model, inputs = _seeded(lambda: Norms().train()), (_images(2),)
        before = {name: tensor.detach().clone() for name, tensor in state_tensors(model).items()}
        modes = [module.training for module in model.modules()]
        threads, state = torch.get_num_threads(), torch.get_rng_state()
        target = Target(self.name, batch=2, threads=threads + 1)
        with self.make().open(model, inputs, target) as session:
            session.run()
        after = state_tensors(model)
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
        assert [module.training for module in model.modules()] == modes
        assert all(tensor.grad is None for tensor in model.parameters())
        assert torch.get_num_threads() == threads, "the number of PyTorch's threads was changed"
        assert torch.equal(torch.get_rng_state(), state), "torch's own generator was used"
        assert torch.is_grad_enabled()

    def test_a_model_that_cannot_be_run_is_a_model_error(self) -> None:
        told = ""
        try:
            with self.make().open(Fails().eval(), (_images(2),), self.target()) as session:
                session.run()
        except ModelError as err:
            told = str(err)
        assert told, "a model whose forward raises was opened"
        assert "\n" not in told, "an error is one paragraph"


def _images(samples: int) -> Tensor:
    return torch.randn(samples, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def _seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make()
    return model
