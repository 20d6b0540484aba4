"""Contrastive pairs: loss and recall against plain references, and what is refused."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torchmetrics.retrieval import RetrievalHitRate

from autoprune.core.policy import Choice, Policy
from autoprune.core.probing import Probing
from autoprune.errors import ConfigError, DataError
from autoprune.evaluation.measuring.divergence import divergence
from autoprune.evaluation.measuring.measure import Reading
from autoprune.evaluation.probing.drawn import CHUNK, drawn
from autoprune.evaluation.pruning.importance import rank_atoms
from autoprune.surgery.discover import discover
from autoprune.tasks import TASKS, Contrastive, create_task, retrieval
from autoprune.tasks.contrastive import Direction

IMAGES = torch.zeros(4, 1, 4, 4)
TOKENS = torch.tensor([[1, 2, 0], [3, 4, 5], [1, 2, 0], [6, 0, 0]])
MASK = (TOKENS > 0).long()
GOOD = (IMAGES, TOKENS)


def task_of(*batches: Any, **more: Any) -> Contrastive:
    own = list(batches or [GOOD])
    return Contrastive({"train": own, "search": own, "test": own}, **more)


def drawn_pairs(captions: list[int], seed: int, width: int = 5) -> tuple[Any, Any]:
    """Return embeddings, their scale, and a batch whose pairs have these captions."""
    rng = torch.Generator().manual_seed(seed)
    images, texts = (torch.randn(len(captions), width, generator=rng) for _ in range(2))
    batch = (torch.zeros(len(captions), 1), torch.tensor(captions)[:, None] * torch.ones(1, 3))
    return (images, texts, torch.tensor(2.5)), (batch[0], batch[1].long())


captions = st.lists(st.integers(0, 4), min_size=1, max_size=12)
seeds = st.integers(0, 99)
plain = settings(max_examples=40)


# --- the loss


def test_without_duplicates_it_is_the_loss_of_clip() -> None:
    (images, texts, scale), batch = drawn_pairs([0, 1, 2, 3, 4, 5], 0)
    similar = scale * normalize(images) @ normalize(texts).T
    own = torch.arange(6)
    want = (cross_entropy(similar, own) + cross_entropy(similar.T, own)) / 2
    torch.testing.assert_close(task_of().loss((images, texts, scale), batch), want)


@plain
@given(captions, seeds)
def test_all_pairs_of_a_caption_share_its_target(captions: list[int], seed: int) -> None:
    (images, texts, scale), batch = drawn_pairs(captions, seed)
    total = 0.0
    for these, those in ((images, texts), (texts, images)):
        for one, caption in zip(these, captions, strict=True):
            cosines = [torch.cosine_similarity(one, other, 0) for other in those]
            shares = torch.log_softmax(scale * torch.stack(cosines), 0)
            same = [at for at, other in enumerate(captions) if other == caption]
            total -= float(shares[same].mean())
    want = total / 2 / len(captions)
    assert float(task_of().loss((images, texts, scale), batch)) == pytest.approx(want, abs=1e-5)


@plain
@given(captions, seeds, st.randoms())
def test_the_order_of_pairs_changes_nothing(captions: list[int], seed: int, random: Any) -> None:
    (images, texts, scale), (pixels, tokens) = drawn_pairs(captions, seed)
    order = random.sample(range(len(captions)), len(captions))
    task = task_of()
    want = task.loss((images, texts, scale), (pixels, tokens))
    got = task.loss((images[order], texts[order], scale), (pixels[order], tokens[order]))
    torch.testing.assert_close(got, want)


def test_pairs_of_one_caption_are_not_pushed_apart() -> None:
    batch = (IMAGES, torch.tensor([[1], [1], [2], [2]]))
    axes = torch.eye(2)[[0, 0, 1, 1]].requires_grad_()
    loss = task_of(temperature=0.01).loss((axes, axes), batch)
    (gradient,) = torch.autograd.grad(loss, axes)
    assert loss.item() == pytest.approx(torch.tensor(2.0).log().item())
    assert float(gradient.abs().max()) < 1e-5


def test_one_pair_alone_costs_nothing() -> None:
    outputs, batch = drawn_pairs([3], 0)
    assert float(task_of().loss(outputs, batch)) == 0


def test_the_scale_is_the_models_unless_a_temperature_is_set() -> None:
    (images, texts, scale), batch = drawn_pairs([0, 1, 2], 1)
    one = task_of().loss((images, texts, scale), batch)
    torch.testing.assert_close(task_of(temperature=0.4).loss((images, texts), batch), one)
    torch.testing.assert_close(
        task_of(temperature=0.4).loss((images, texts, torch.tensor(9.0)), batch), one
    )
    usual = task_of(temperature=0.07).loss((images, texts), batch)
    torch.testing.assert_close(task_of().loss((images, texts), batch), usual)


# --- what a model may return


@dataclass
class Object:
    image_embeds: Tensor
    text_embeds: Tensor
    logits_per_image: Tensor | None = None


FORMS: dict[str, Callable[[Tensor, Tensor, Tensor], Any]] = {
    "tuple": lambda images, texts, scale: (images, texts, scale),
    "list": lambda images, texts, scale: [images, texts, scale],
    "mapping": lambda images, texts, scale: {
        **{"image_embeds": images, "text_embeds": texts, "logit_scale": scale, "loss": None},
    },
    "logits": lambda images, texts, scale: {
        **{"image_embeds": images, "text_embeds": texts},
        "logits_per_image": scale * normalize(images) @ normalize(texts).T,
    },
    "object": lambda images, texts, scale: Object(
        images, texts, scale * normalize(images) @ normalize(texts).T
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_outputs_gives_the_same(form: str) -> None:
    outputs, batch = drawn_pairs([0, 1, 1, 2], 2)
    task = task_of()
    found = FORMS[form](*outputs)
    task.check_outputs(found, batch)
    torch.testing.assert_close(task.loss(found, batch), task.loss(outputs, batch))
    metrics = task.metric(), task.metric()
    for metric, own in zip(metrics, (found, outputs), strict=True):
        metric.update(own, batch)
    assert metrics[0].compute() == metrics[1].compute()


BAD_OUTPUTS: list[tuple[Any, str]] = [
    (torch.zeros(4, 2), r"two towers must return .* Got float32 \[4, 2\]"),
    ((torch.zeros(4, 2),), r"Got \(float32 \[4, 2\]\)"),
    ({"image_embeds": torch.zeros(4, 2)}, r"Got {image_embeds: float32 \[4, 2\]}"),
    (None, "Got NoneType"),
    ((torch.ones(4, 2), torch.ones(4, 3)), r"one width, .* Got \[4, 2\] of the images and \[4, 3"),
    ((torch.ones(3, 2), torch.ones(3, 2)), r"\[4, width\] each for 4 pairs. Got \[3, 2\]"),
    ((torch.ones(4, 2, 1), torch.ones(4, 2, 1)), r"Got \[4, 2, 1\]"),
    ((torch.ones(4, 2), torch.full((4, 2), torch.nan)), "NaN or infinite"),
    ((torch.full((4, 2), torch.inf), torch.ones(4, 2)), "NaN or infinite"),
    ((torch.ones(4, 2), torch.ones(4, 2), torch.tensor(-1.0)), "above 0, .* Got -1"),
    ((torch.ones(4, 2), torch.ones(4, 2), torch.ones(4)), r"one number .* Got float32 \[4\]"),
    (Object(torch.ones(4, 2), torch.ones(4, 2), torch.ones(4, 3)), r"\[4, 4\].* Got \[4, 3\]"),
]


@pytest.mark.parametrize(("outputs", "message"), BAD_OUTPUTS)
def test_outputs_that_do_not_fit_are_told(outputs: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        task_of().check_outputs(outputs, GOOD)


@pytest.mark.parametrize("pairs", [1, 3])
def test_a_first_batch_with_one_caption_alone_is_refused(pairs: int) -> None:
    batch = (IMAGES[:pairs], TOKENS[:1].expand(pairs, 3))
    with pytest.raises(DataError, match=f"All {pairs} pairs .* larger batch size, or shuffle"):
        task_of().check_outputs((torch.ones(pairs, 2), torch.ones(pairs, 2)), batch)


# --- the metric


def reference(queries: Tensor, answers: Tensor, captions: Tensor, at: int) -> float:
    """Return the hit rate of torchmetrics over every pair of a query and an answer."""
    similar = normalize(queries) @ normalize(answers).T
    rows = torch.arange(len(queries))[:, None].expand_as(similar)
    right = captions[:, None] == captions
    metric = RetrievalHitRate(top_k=at)
    return float(metric(similar.flatten(), right.flatten(), rows.flatten()))


@plain
@given(captions, seeds, st.integers(1, 4), st.sampled_from(get_args(Direction)))
def test_recall_is_the_hit_rate_over_the_whole_split(
    captions: list[int], seed: int, at: int, direction: Direction
) -> None:
    (images, texts, _), (_, tokens) = drawn_pairs(captions, seed)
    metric = task_of(recall_at=at, direction=direction).metric()
    for part in range(0, len(captions), 5):  # batches do not matter, the split does
        here = slice(part, part + 5)
        metric.update((images[here], texts[here]), (None, tokens[here]))
    found = {
        "image-to-text": reference(images, texts, tokens[:, 0], at),
        "text-to-image": reference(texts, images, tokens[:, 0], at),
    }
    want = found.get(direction, sum(found.values()) / 2)
    assert metric.compute() == pytest.approx(want)


def test_each_direction_has_a_recall_of_its_own() -> None:
    images = torch.tensor([[1.0, 0], [1, 0.1], [0, 1]])
    texts = torch.tensor([[1.0, 0], [1, 0.0], [0, 1]])
    want = {"image-to-text": 1 / 3, "text-to-image": 2 / 3, "both": 1 / 2}
    for direction, recall in want.items():
        metric = task_of(direction=direction).metric()
        metric.update((images, texts), (None, torch.arange(3)[:, None]))
        assert metric.compute() == pytest.approx(recall)


def test_every_image_of_a_caption_is_right() -> None:
    images, texts = torch.eye(4), torch.eye(4)[[2, 1, 0, 3]]
    metric = task_of().metric()
    metric.update((images, texts), (None, TOKENS))  # the first and third have one caption
    assert metric.compute() == 1


@pytest.mark.parametrize("value", [1.0, 0.0, torch.nan])
def test_a_model_that_embeds_all_alike_finds_nothing(value: float) -> None:
    metric = task_of().metric()
    metric.update((torch.full((4, 2), value),) * 2, (None, torch.arange(4)[:, None]))
    assert metric.compute() == 0


def test_queries_are_looked_up_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, batch = drawn_pairs([0, 1, 2, 3, 2, 1, 5], 3)
    found = []
    for rows in (1024, 3):
        monkeypatch.setattr(retrieval, "_ROWS", rows)
        metric = task_of().metric()
        metric.update(outputs, batch)
        found.append(metric.compute())
    assert found[0] == found[1]


# --- batches


def test_a_mapping_goes_to_the_model_by_name() -> None:
    batch = {"pixel_values": IMAGES, "input_ids": TOKENS, "attention_mask": MASK}
    task = task_of(batch)
    (read,) = task.batches("search")
    assert dict(task.inputs(read)) == batch
    assert (task.samples(read), task.targets(read) is TOKENS) == (4, True)
    few = task.trace_inputs(2)
    assert isinstance(few, dict)
    assert {name: len(x) for name, x in few.items()} == dict.fromkeys(batch, 2)


@pytest.mark.parametrize("batch", [GOOD, (*GOOD, MASK), [*GOOD, MASK.bool()]])
def test_the_model_gets_all_of_a_batch(batch: Any) -> None:
    task = task_of(batch)
    (read,) = task.batches("train")
    assert all(one is other for one, other in zip(task.inputs(read), batch, strict=True))
    assert task.samples(read) == 4
    assert [len(x) for x in task.trace_inputs(3)] == [3] * len(batch)


BAD_BATCHES: list[tuple[Any, str]] = [
    (IMAGES, r"Got float32 \[4, 1, 4, 4\]"),
    ((IMAGES,), r"Got \(float32 \[4, 1, 4, 4\]\)"),
    ((TOKENS, IMAGES), r"Got \(int64 \[4, 3\], float32"),
    ((IMAGES, TOKENS[:3]), r"int64 \[3, 3\]"),
    ((IMAGES, TOKENS[:, 0]), r"int64 \[4\]\)"),
    ((IMAGES, TOKENS.float()), r"float32 \[4, 3\]\)"),
    ((IMAGES, TOKENS[:, :0]), r"int64 \[4, 0\]\)"),
    ((IMAGES[:0], TOKENS[:0]), r"int64 \[0, 3\]\)"),
    ((IMAGES, TOKENS, MASK[:2]), r"int64 \[2, 3\]\)"),
    ((IMAGES, TOKENS, MASK, MASK), r"int64 \[4, 3\]\)"),
    ((IMAGES, ["a photo"] * 4), r"\(str, str, str, str\)\)"),
    ({"pixel_values": IMAGES}, r"Got {pixel_values: float32"),
    ({"images": IMAGES, "input_ids": TOKENS}, r"Got {images: float32"),
]


@pytest.mark.parametrize(("batch", "got"), BAD_BATCHES)
def test_a_batch_of_another_form_is_described(batch: Any, got: str) -> None:
    with pytest.raises(DataError, match=rf"The train loader must yield .*'input_ids'.*{got}"):
        list(task_of(batch).batches("train"))


def test_captions_have_one_length() -> None:
    other = (IMAGES, torch.cat([TOKENS, TOKENS], 1))
    with pytest.raises(DataError, match=r"search loader yielded 6 after 3\. Pad every caption"):
        list(task_of(GOOD, other).batches("search"))


def test_settings_tell_what_changes_scores_and_the_name_what_is_measured() -> None:
    task = create_task("contrastive", {key: [GOOD] for key in ("train", "search", "test")})
    assert isinstance(task, Contrastive)
    assert "contrastive" in list(TASKS)
    assert (task.name, task.metric_name) == ("contrastive", "recall@1")
    assert task.settings == {"recall_at": 1, "direction": "both", "temperature": None}
    other = task_of(recall_at=5, direction="text-to-image", temperature=0.1)
    assert other.metric_name == "recall@5 text-to-image"
    assert other.settings == {
        **{"recall_at": 5, "direction": "text-to-image", "temperature": 0.1},
    }


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"recall_at": 0}, "recall_at must be a whole number of at least 1. Got 0"),
        ({"recall_at": 1.5}, "recall_at must be"),
        ({"direction": "text"}, "both, image-to-text, text-to-image. Got 'text'"),
        ({"temperature": 0}, "temperature must be"),
    ],
)
def test_settings_that_are_not_allowed(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        task_of(**setting)


# --- what a loss over pairs means for the rest


def test_logits_are_rows_of_both_directions() -> None:
    (images, texts, scale), _ = drawn_pairs([0, 1, 2], 4)
    found = task_of().logits((images, texts, scale))
    want = scale * normalize(images) @ normalize(texts).T
    torch.testing.assert_close(found, torch.stack([want, want.T]))
    other = task_of().logits((texts, images, scale))
    assert float(divergence(found, found)) == pytest.approx(0, abs=1e-6)
    assert float(divergence(found, other)) > 0.01


@pytest.mark.parametrize("score_by", ["loss", "metric", "kl"])
def test_parts_of_a_batch_do_not_stand_for_it(score_by: Any) -> None:
    outputs, batch = drawn_pairs([*range(64)], 5)
    task = task_of()
    reading = Reading(task, "search", score_by, parts=4)
    reading.add(outputs, batch, task.logits(drawn_pairs([*range(64)], 6)[0]))
    assert not reading.divides
    without_scale = Reading(task, "search", score_by, parts=4)
    without_scale.add(outputs[:2], batch, task.logits(drawn_pairs([*range(64)], 6)[0]))
    assert not without_scale.divides


def test_probes_look_at_pairs_in_parts() -> None:
    pairs = [(torch.zeros(n, 1, 2, 2), torch.arange(n)[:, None]) for n in (70, 65, 1)]
    task = task_of(*pairs)
    _, search = drawn(task, Probing(samples=136), 0, "cpu")
    assert sum(batch.samples for batch in search) == 136
    assert {batch.samples for batch in search} <= {1, *range(CHUNK // 2, CHUNK + 1)}
    for batch in search:
        rows = torch.randn(batch.samples, 4)
        assert bool(torch.isfinite(task.loss((rows, rows), batch.content)))


class Towers(nn.Module):
    """The least that has two towers."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 4)
        self.visual = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), self.head)
        self.words = nn.Embedding(7, 6)
        self.text = nn.Linear(6, 4)

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return self.visual(images), self.text(self.words(tokens).mean(1))


@pytest.mark.parametrize("method", ["channel.taylor", "channel.fisher"])
def test_gradients_of_pairs_rank_the_atoms_of_both_towers(method: str) -> None:
    model = Towers().eval()
    with torch.no_grad():  # nothing reads these atoms, so they matter least
        model.head.weight[:, [2, 5]] = 0
        model.text.weight[:, [1]] = 0
    batch = (torch.randn(12, 1, 4, 4), torch.randint(7, (12, 3)))
    plan = discover(model, [x[:2] for x in batch], np.random.default_rng(0))
    assert {name: unit.atoms for name, unit in plan.units.items()} == {"visual.1": 8, "words": 6}
    ranks = rank_atoms(model, plan, task_of(batch), [method], 1, "cpu")
    policy = Policy({"visual.1": Choice(method, 2 / 8), "words": Choice(method, 1 / 6)})
    found = {unit: atoms.tolist() for unit, atoms in ranks.removed(policy).items()}
    assert found == {"visual.1": [2, 5], "words": [1]}
