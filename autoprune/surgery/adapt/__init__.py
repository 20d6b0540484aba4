"""Adapters: drop-in subclasses of modules whose forward assumes that nothing was pruned.

An adapter takes over an instance by changing its class; parameters, names and results stay.
"""

from autoprune.surgery.adapt.table import adapt_modules, adapted, adapter_of, is_adapter

__all__ = ["adapt_modules", "adapted", "adapter_of", "is_adapter"]
