"""Single weights as units: for pruning without structure, or n of every m."""

from torch import nn
from torch.nn.modules.conv import _ConvNd

from autoprune.surgery.units import Unit

LAYERS = (_ConvNd, nn.Linear, nn.MultiheadAttention)
ALL_WEIGHTS = "weights"


def layer_parameters(model: nn.Module) -> list[str]:
    """Return the names of the parameters of convolutions, linear layers and attention."""
    own = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, LAYERS)
        for parameter in module.parameters(recurse=False)
    }
    return [name for name, parameter in model.named_parameters() if id(parameter) in own]


def weight_units(model: nn.Module) -> list[Unit]:
    """Return a unit for each weight tensor of a layer, and one over all of them together."""
    sizes = {name: p.numel() for name, p in model.named_parameters() if p.ndim > 1}
    names = [name for name in layer_parameters(model) if sizes.get(name, 0) > 1]
    single = [Unit(name, sizes[name], kind="weights", members=(name,)) for name in names]
    if not single:
        return []
    total = sum(sizes[name] for name in names)
    return [*single, Unit(ALL_WEIGHTS, total, kind="weights", members=tuple(names))]
