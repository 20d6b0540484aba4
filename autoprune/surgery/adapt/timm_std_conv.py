"""timm's weight-standardised convolutions, standardised over the input channels that are left."""

from timm.layers.padding import pad_same
from timm.layers.std_conv import (
    ScaledStdConv2d,
    ScaledStdConv2dSame,
    StdConv2d,
    StdConv2dSame,
)
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from autoprune.surgery.adapt.heads import Gone


class _Sliced(nn.Conv2d):
    """Same parameters and results; the weight is normalised as a layer norm would, axis by axis.

    timm flattens the weight for a batch norm, which hides the axis of the input channels.
    """

    eps: float

    @classmethod
    def fits(cls, module: nn.Module) -> bool:
        """Every instance is covered."""
        return True

    @classmethod
    def adopt(cls, module: nn.Module) -> None:
        """Turn a convolution into this class."""
        module.__class__ = cls

    def resize(self, gone: Gone) -> None:
        """Do nothing: the sizes of any convolution follow its weight already."""

    def forward(self, x: Tensor) -> Tensor:
        """See timm's classes."""
        if getattr(self, "same_pad", False):
            x = pad_same(x, list(self.kernel_size), list(self.stride), list(self.dilation))
        weight = layer_norm(self.weight, self.weight.shape[1:], eps=self.eps)
        if isinstance(self, ScaledStdConv2d | ScaledStdConv2dSame):
            weight = weight * (self.gain * self.scale)
        out: Tensor = self._conv_forward(x, weight, self.bias)
        return out


class SlicedStdConv2d(_Sliced, StdConv2d):
    """Weight standardisation."""


class SlicedStdConv2dSame(_Sliced, StdConv2dSame):
    """Weight standardisation, padded as TensorFlow does."""


class SlicedScaledStdConv2d(_Sliced, ScaledStdConv2d):
    """Scaled weight standardisation; the scale stays the one of the dense fan-in."""


class SlicedScaledStdConv2dSame(_Sliced, ScaledStdConv2dSame):
    """Scaled weight standardisation, padded as TensorFlow does."""
