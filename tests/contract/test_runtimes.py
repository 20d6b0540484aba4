"""The contract of runtimes on the built-in ones, and what each says of targets it cannot run."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoprune.core.target import Target
from autoprune.cost.latency.runtimes import RUNTIMES, Runtime, find_runtime
from autoprune.cost.latency.runtimes.onnx_session import session_options
from autoprune.cost.latency.runtimes.prepare import batched, prepared
from autoprune.errors import ConfigError, ModelError
from autoprune.surgery.compare import difference, outputs
from autoprune.surgery.nested import tensors_in
from autoprune.surgery.tensors import state_tensors
from autoprune.testing.models import Residual
from autoprune.testing.runtimes import RuntimeContract

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class BuiltIn(RuntimeContract):
    def make(self) -> Runtime:
        return RUNTIMES.get(self.name)


class TestPyTorch(BuiltIn):
    name = "pytorch"


class TestOnnxRuntime(BuiltIn):
    name = "onnxruntime"


@pytest.mark.slow
class TestTorchCompile(BuiltIn):
    name = "torch-compile"


@gpu
class TestCuda(BuiltIn):
    name = "cuda"


def test_all_runtimes_are_registered() -> None:
    assert {"pytorch", "torch-compile", "onnxruntime", "cuda"} <= set(RUNTIMES)


def test_an_unknown_runtime_is_refused_with_a_hint() -> None:
    with pytest.raises(ConfigError, match=r"runtime 'onnxrutime'\. Did you mean 'onnxruntime'"):
        find_runtime(Target("onnxrutime"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_onnxruntime_refuses_types_it_has_no_kernels_for(dtype: str) -> None:
    with pytest.raises(ConfigError, match=f"asks for {dtype}.*Leave 'dtype' out"):
        find_runtime(Target("onnxruntime", dtype=dtype))


def test_onnxruntime_refuses_a_layout() -> None:
    with pytest.raises(ConfigError, match="chooses the layout itself"):
        find_runtime(Target("onnxruntime", channels_last=True))


def test_onnxruntime_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    path = "autoprune.cost.latency.runtimes.onnx_runtime.find_spec"
    monkeypatch.setattr(path, lambda name: None)
    with pytest.raises(ConfigError, match="pip install onnxruntime"):
        find_runtime(Target("onnxruntime"))


def test_torch_compile_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -O3")
    with pytest.raises(ConfigError, match=r"no 'no-such-compiler.*apt install g\+\+"):
        find_runtime(Target("torch-compile"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"needs an NVIDIA GPU.*choose another target"):
        find_runtime(Target("cuda"))


def test_the_threads_of_onnxruntime_stop_when_a_forward_is_over() -> None:
    options = session_options(3)
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_pytorch_runs_in_the_type_and_layout_asked_for(dtype: str, channels_last: bool) -> None:
    model = Residual().eval()
    target = Target("pytorch", 2, 1, dtype, channels_last)
    twin, inputs = prepared(model, (IMAGES,), target)
    for tensor in (*tensors_in(inputs), state_tensors(twin)["stem.weight"]):
        assert tensor.dtype == getattr(torch, dtype)
        assert tensor.is_contiguous(memory_format=torch.channels_last) == channels_last
    with RUNTIMES.get("pytorch").open(model, (IMAGES,), target) as session:
        found = session.outputs()
    assert difference(found, outputs(model, (IMAGES,))) <= (1e-5 if dtype == "float32" else 0.1)


def test_each_forward_runs_with_the_threads_of_its_target() -> None:
    seen = []

    class Counts(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(torch.get_num_threads())
            return x

    def opened(threads: int) -> Any:
        return RUNTIMES.get("pytorch").open(Counts(), (IMAGES,), Target("pytorch", 1, threads))

    before = torch.get_num_threads()
    with opened(1) as one, opened(2) as two:
        seen.clear()
        for session in (one, two, one):
            session.run()
    assert seen == [1, 2, 1]
    assert torch.get_num_threads() == before


def test_keyword_arguments_and_other_types_are_batched() -> None:
    inputs = {"x": IMAGES, "index": torch.arange(2)}
    found: Any = batched(inputs, 3)
    assert torch.equal(found["x"], IMAGES[[0, 1, 0]])
    assert found["index"].tolist() == [0, 1, 0]
    _, converted = prepared(Residual(), inputs, Target("pytorch", dtype="float16"))
    assert [x.dtype for x in converted.values()] == [torch.float16, torch.int64]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((IMAGES, torch.zeros(3)), r"first dimension of every input\. Got \(2, 3, 8, 8\)"),
        ((torch.zeros(()),), "first dimension"),
        ((torch.zeros(0, 3),), "first dimension"),
        ((), "first dimension"),
        (([IMAGES, IMAGES], IMAGES), r"must be a tensor.*Got list, Tensor"),
        (({"x": IMAGES},), r"must be a tensor.*Got dict"),
    ],
)
def test_inputs_that_cannot_be_batched_are_refused(inputs: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        batched(inputs, 2)


class Listed(nn.Module):
    """A forward that takes a list of images, as detectors do."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Residual()

    def forward(self, images: list[Tensor]) -> Tensor:
        out: Tensor = self.body(torch.stack(images))
        return out


@pytest.mark.parametrize(("name", "batch"), [("pytorch", 3), ("onnxruntime", 1)])
def test_a_model_that_takes_a_list_of_images_is_run(name: str, batch: int) -> None:
    model, target = Listed().eval(), Target(name, batch, threads=1)
    with RUNTIMES.get(name).open(model, (list(IMAGES),), target) as session:
        found = session.outputs()
    wanted = [IMAGES[number % 2] for number in range(batch)]
    assert difference(found, outputs(model, (wanted,))) <= 1e-4


def test_onnxruntime_refuses_a_batch_of_a_list_of_images() -> None:
    target = Target("onnxruntime", batch=2)
    with (
        pytest.raises(ModelError, match=r"asks for 2 samples.*takes one.*Leave 'batch' out"),
        RUNTIMES.get("onnxruntime").open(Listed().eval(), (list(IMAGES),), target),
    ):
        pass


class NoExport(nn.Module):
    """A forward that branches on values."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(x.mean((2, 3)))
        return out if float(out.sum()) > 0 else -out


def test_a_model_that_cannot_be_exported_names_another_target() -> None:
    target = Target("onnxruntime", threads=1)
    with (
        pytest.raises(ModelError, match=r"'onnxruntime/threads=1': exporting .*\(pytorch") as err,
        RUNTIMES.get("onnxruntime").open(NoExport().eval(), (IMAGES,), target),
    ):
        pass
    assert "data-dependent" in str(err.value)  # the reason, not the exporter's advice
    assert "\x1b" not in str(err.value)


@pytest.mark.slow
def test_torch_compile_compiles_every_model_of_one_class() -> None:
    """After eight of them PyTorch would run further ones uncompiled, without an error."""
    target = Target("torch-compile", threads=1)
    runtime = RUNTIMES.get("torch-compile")
    for width in range(1, 11):
        model = nn.Sequential(nn.Conv2d(3, width, 1), nn.ReLU()).eval()
        with runtime.open(model, (IMAGES,), target) as session:  # raises if nothing was compiled
            assert difference(session.outputs(), outputs(model, (IMAGES[:1],))) <= 1e-4


@pytest.mark.slow
def test_torch_compile_refuses_to_measure_what_it_does_not_compile() -> None:
    class Nothing(nn.Module):
        @torch.compiler.disable  # type: ignore[untyped-decorator]
        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    with (
        pytest.raises(ModelError, match="found nothing in the model to compile"),
        RUNTIMES.get("torch-compile").open(Nothing(), (IMAGES,), Target("torch-compile")),
    ):
        pass
