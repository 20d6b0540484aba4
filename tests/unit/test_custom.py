"""Custom tasks: a function that scores is enough."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoprune.agent.evaluating.outcomes import candidate_errors
from autoprune.agent.feasible.task_space import space_for, without_gradients
from autoprune.agent.preparing.prepare import check_data
from autoprune.core.recovery import Recovery
from autoprune.core.yardstick import Yardstick
from autoprune.errors import (
    CandidateError,
    ConfigError,
    DataError,
    InputError,
    ModelError,
    OutOfMemoryError,
)
from autoprune.evaluation.distillation.imitation import imitation
from autoprune.evaluation.measuring.measure import measure
from autoprune.evaluation.training.fine_tune import fine_tune
from autoprune.space.loader import load_space
from autoprune.space.schema import SearchSpace
from autoprune.surgery.nested import call
from autoprune.surgery.tensors import copied
from autoprune.tasks import Custom
from autoprune.tasks.base import yardstick_of

RNG = torch.Generator().manual_seed(0)
IMAGES = [torch.rand(8, 1, 6, 6, generator=RNG) for _ in range(3)]


def task(evaluate: Any, **settings: Any) -> Custom:
    return Custom(
        {"train": IMAGES, "search": IMAGES, "test": IMAGES}, evaluate=evaluate, **settings
    )


def net(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 1)).eval()


def error(model: nn.Module, images: Tensor) -> Tensor:
    assert not model.training
    assert not torch.is_grad_enabled()
    found: Tensor = (model(images) - images).square().mean((1, 2, 3))
    return found


def test_scores_are_averaged_over_samples_and_rank() -> None:
    model = net()
    with torch.no_grad():
        expected = float(error(model, torch.cat(IMAGES)).double().mean())
    higher, lower = (task(error, higher_is_better=h) for h in (True, False))
    for one, sign in ((higher, 1), (lower, -1)):
        found = measure(model, one, "search", "cpu")
        assert found.quality == pytest.approx(sign * expected, rel=1e-5)
        assert found.loss == pytest.approx(-sign * expected, rel=1e-5)
        assert found.samples == 24
    assert lower.settings != higher.settings


def test_lists_of_numbers_are_scores_too() -> None:
    found = measure(net(), task(lambda model, batch: [0.5] * len(batch)), "search", "cpu")
    assert found.quality == 0.5


@pytest.mark.parametrize("wrong", [torch.tensor(1.0), torch.zeros(7), torch.zeros(8, 2)])
def test_anything_but_a_score_for_each_sample_is_told(wrong: Tensor) -> None:
    with pytest.raises(DataError, match=r"one score for each of the 8 samples .* Got float32"):
        measure(net(), task(lambda model, batch: wrong), "search", "cpu")


def test_a_score_that_is_nan_is_told_at_once() -> None:
    one = task(lambda model, batch: torch.full((len(batch),), torch.nan))
    with pytest.raises(DataError, match="NaN or infinite"):
        one.check_outputs(one.outputs(net(), IMAGES[0]), IMAGES[0])


def test_a_candidate_with_a_score_that_is_nan_has_no_quality() -> None:
    def one_is_nan(model: nn.Module, images: Tensor) -> Tensor:
        return error(model, images).index_fill(0, torch.tensor([2]), torch.nan)

    scored = task(one_is_nan, loss=lambda outputs, images: outputs.square().mean())
    with pytest.raises(CandidateError, match="metric on the search split is nan"):
        measure(net(), scored, "search", "cpu")


def test_batches_of_any_form_have_inputs_and_samples() -> None:
    own = task(error, inputs=lambda batch: (batch["x"], 2))
    images = IMAGES[0]
    assert task(error).inputs(images) == (images,)
    assert task(error).inputs((images, "more")) == (images,)
    assert task(error).inputs({"x": images}) == {"x": images}
    assert own.inputs({"x": images}) == (images, 2)
    assert [task(error).samples(b) for b in (images, (images, 1), {"x": images})] == [8, 8, 8]
    assert task(error).samples(["a", "b"]) == 2
    assert task(error).samples([images[:5], torch.zeros(5)]) == 5
    assert task(error).samples(([images[0]] * 5, torch.zeros(5))) == 5
    assert task(error, samples=lambda batch: 3).samples("abc") == 3
    with pytest.raises(DataError, match=r"no telling how many samples .* 'samples\(batch\)'"):
        task(error).samples({"x": 1})


def test_a_model_that_evaluate_left_in_training_is_put_back() -> None:
    model = net()

    def careless(one: nn.Module, batch: Tensor) -> Tensor:
        one.train()
        return torch.ones(len(batch))

    assert measure(model, task(careless), "search", "cpu").quality == 1
    assert not model.training


def test_without_a_loss_a_model_learns_to_give_what_the_dense_one_gives() -> None:
    dense, one = net(), task(error)
    model = copied(dense)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.8)
    recovery, images = Recovery(learning_rate=0.05), torch.cat(IMAGES)
    with torch.no_grad():
        before = float(imitation(model(images), dense(images)))
    samples = fine_tune(model, one, 60, recovery, "cpu", teacher=dense)
    with torch.no_grad():
        assert float(imitation(model(images), dense(images))) < before / 2
    assert samples == 60 * 8


def test_a_loss_is_trained_on_where_there_is_one() -> None:
    one = task(error, loss=lambda outputs, images: (outputs - images).square().mean())
    model = net()
    before = measure(model, one, "search", "cpu")
    fine_tune(model, one, 60, Recovery(learning_rate=0.05), "cpu", teacher=net(1))
    assert measure(model, one, "search", "cpu").loss < before.loss / 2
    assert before.loss == pytest.approx(before.quality, rel=1e-4)
    assert one.forwards == 2


def test_outputs_of_other_forms_cannot_be_imitated() -> None:
    with pytest.raises(ConfigError, match=r"differ in form: \[\(2,\)\] and \[\(3,\)\].*a loss"):
        imitation(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ConfigError, match="differ in form"):
        imitation("nothing", "nothing")


def test_methods_that_need_gradients_are_left_out() -> None:
    found = without_gradients(load_space("default"))
    assert found.all_methods == ["channel.l1", "channel.l2", "head.l2"]
    mixed = {"schema": 1, "methods": ["channel.taylor", "head.l2"], "sparsities": [0.5]}
    with pytest.warns(UserWarning, match=r"channel.taylor of the search space are left out"):
        without_gradients(SearchSpace.model_validate(mixed))
    rule = {"match": "stem", "methods": ["channel.taylor"]}
    given = {"schema": 1, "methods": ["channel.l1"], "sparsities": [0.5], "units": [rule]}
    with pytest.raises(ConfigError, match=r"All methods of 'stem' need gradients: channel.taylor"):
        without_gradients(SearchSpace.model_validate(given))


def test_what_a_task_protects_is_never_pruned() -> None:
    class Kept(Custom):
        protect: Sequence[str] = ("0",)

    data = {"train": IMAGES, "search": IMAGES, "test": IMAGES}
    given = SearchSpace.model_validate(
        {"schema": 1, "methods": ["channel.l1"], "sparsities": [0.5], "protect": ["2"]}
    )
    found = space_for(Kept(data, evaluate=error), given)
    assert found.protect == ("2", "0")
    assert space_for(task(error), given) == given


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"evaluate": lambda model, batch: batch["nothere"]}, r"'evaluate' raised: "),
        ({"evaluate": lambda model: 1}, r"'evaluate' raised: TypeError"),
        ({"evaluate": lambda model, batch: "good"}, r"one score for each .* Got str"),
        ({"loss": lambda outputs, batch: outputs["logits"]}, r"'loss' raised: .*test_custom"),
        ({"loss": lambda outputs, batch: outputs}, r"'loss' must return a tensor of one number"),
        ({"inputs": lambda batch: 3}, r"'inputs' must return a tuple .* Got int"),
        ({"inputs": lambda batch: batch}, r"'inputs' must return a tuple .* Got float32"),
        ({"samples": lambda batch: batch["nothere"]}, r"'samples' raised: .*test_custom"),
        ({"samples": lambda batch: None}, r"'samples' must return the number .* Got NoneType"),
        ({"samples": lambda batch: batch.shape}, r"'samples' must return the number .* Got \("),
    ],
)
def test_functions_that_fail_are_blamed_by_name(settings: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"evaluate": error, **settings}
    with pytest.raises(InputError, match=message):
        measured(task(**given))


@pytest.mark.parametrize("function", ["evaluate", "loss"])
@pytest.mark.parametrize("kind", [MemoryError, torch.OutOfMemoryError])
def test_memory_that_runs_out_is_no_fault_of_a_function(function: str, kind: Any) -> None:
    def full(*_: Any) -> Any:
        raise kind("no room")

    given: dict[str, Any] = {"evaluate": error, function: full}
    with pytest.raises(OutOfMemoryError, match="Lower the batch size"), candidate_errors():
        measured(task(**given))


def measured(one: Custom) -> None:
    """Go the way of a search to its first loss."""
    call(net(), one.inputs(IMAGES[0]))
    measure(net(), one, "search", "cpu")


def test_batches_that_go_by_name_are_described_where_the_model_does_not_take_them() -> None:
    data = [{"image": IMAGES[0], "depth": IMAGES[1]}]
    one = Custom({"train": data, "search": data, "test": data}, evaluate=lambda m, b: [1.0] * 8)
    with pytest.raises(ModelError, match=r"first train batch, .*by name \(image, depth\)"):
        check_data(net(), one)


@pytest.mark.parametrize("name", ["higher_is_better", "is_share"])
def test_the_direction_and_the_kind_are_true_or_false(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} must be true or false\. Got 'no'"):
        task(error, **{name: "no"})


def test_a_score_is_no_share_unless_that_is_said() -> None:
    assert not task(error).is_share
    told = task(error, is_share=True, metric_name="IoU")
    assert yardstick_of(told, 5) == Yardstick(metric="IoU", dense_macs=5)
    assert told.settings != task(error).settings, "drops of it are in another unit"


@pytest.mark.parametrize(
    ("score", "higher"), [(30.0, True), (-0.1, True), (1.5, False), (1.00001, True)]
)
def test_a_share_that_is_none_is_told_at_once(score: float, higher: bool) -> None:
    def evaluate(model: nn.Module, batch: Tensor) -> Tensor:
        return torch.full((len(batch),), score)

    one = task(evaluate, is_share=True, higher_is_better=higher)
    with pytest.raises(DataError, match=rf"a score of {score:.7g} .*is_share says .*\[0, 1\]"):
        one.check_outputs(one.outputs(net(), IMAGES[0]), IMAGES[0])
    unsaid = task(evaluate, higher_is_better=higher)
    unsaid.check_outputs(unsaid.outputs(net(), IMAGES[0]), IMAGES[0])
