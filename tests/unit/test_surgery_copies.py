"""Our copy of a model is what ``copy.deepcopy`` gives, whatever the module holds."""

import copy
import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoprune.surgery.tensors import copied

X = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Any:
        return self.a(x)


class Locked(Base):
    def __init__(self) -> None:
        super().__init__()
        self.lock: Any = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "lock"}


class Bound(Base):
    def __init__(self) -> None:
        super().__init__()
        self._bind()

    def _bind(self) -> None:
        self.run: Any = lambda x: self.a(x)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._bind()

    def forward(self, x: Tensor) -> Any:
        return self.run(x)


class Compiled(Base):
    def __init__(self) -> None:
        super().__init__()
        self.a = torch.compile(nn.Linear(3, 3), backend="eager")  # type: ignore[assignment]


class ByModule(Base):
    def __init__(self) -> None:
        super().__init__()
        self.scales = {self.a: 2.0}

    def forward(self, x: Tensor) -> Any:
        return self.a(x) * self.scales[self.a]


class Nested(Base):
    def __init__(self) -> None:
        super().__init__()
        self.parts: Any = [self.a, (self.a,), {"a": {self.a}}]

    def forward(self, x: Tensor) -> Any:
        return self.parts[0](x) + self.parts[1][0](x) + next(iter(self.parts[2]["a"]))(x)


class Tied(Base):
    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Linear(3, 3)
        self.b.weight = self.a.weight
        self.same = self.a


@pytest.mark.parametrize("kind", [Base, Locked, Bound, Compiled, ByModule, Nested, Tied])
def test_copies_stand_alone_as_those_of_deepcopy_do(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = kind().eval()
    expected = model(X)
    for twin in (copied(model), copy.deepcopy(model)):
        assert torch.equal(twin(X), expected)
        for parameter in twin.parameters():
            parameter.data.zero_()
        assert not twin(X).any(), "the copy runs its own weights"
        assert torch.equal(model(X), expected)


def test_what_is_shared_stays_shared() -> None:
    twin: Any = copied(Tied())
    assert twin.a.weight is twin.b.weight
    assert twin.same is twin.a
