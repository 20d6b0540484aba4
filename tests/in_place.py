"""A model that changes its input in place, for the tests of what must stay as it was."""

from torch import Tensor, nn


class Scaling(nn.Module):
    """It changes what it is given, as preprocessing in a forward does."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.net(x.mul_(2))
        return found
