"""Adapters made from a class's own source: sizes it writes into reshapes follow the tensors.

Most attention modules split channels by ``x.reshape(B, N, self.num_heads, C // self.num_heads)``
where ``C`` is the width of the input, which is wrong as soon as heads are narrower. A reshape
finds one size by itself: with ``-1`` in that place it gives the same result for the dense model,
and goes on doing so when heads are cut. Likewise a split into written sizes becomes a split in
their proportion, and attention keeps the scale of the dense model. No forward is written anew: a
`Recipe` only says which expressions are sizes of channels and which attributes follow the weights.
"""

import ast
import inspect
import linecache
import textwrap
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from autoprune.surgery.adapt.heads import Gone, heads_left
from autoprune.surgery.adapt.recipe import Recipe, at
from autoprune.surgery.adapt.recipes import RECIPES

_RESHAPES = ("reshape", "view")
_HELPER = "_proportional_split"
_ATTENTION = "scaled_dot_product_attention"


class Rewritten:
    """What all rewritten classes share."""

    recipe: Recipe
    needs_scale: bool
    scale: float

    @classmethod
    def fits(cls, module: nn.Module) -> bool:
        """Tell whether the instance knows the scale that its attention must keep."""
        return not cls.needs_scale or hasattr(module, "scale") or cls.recipe.scale is not None

    @classmethod
    def adopt(cls, module: nn.Module) -> None:
        """Turn an instance of the original class into this class."""
        module.__class__ = cls  # type: ignore[assignment]
        assert isinstance(module, Rewritten)
        if cls.needs_scale and not hasattr(module, "scale") and cls.recipe.scale is not None:
            module.scale = cls.recipe.scale(module)

    def resize(self, gone: Gone) -> None:
        """Set the number of heads, then all attributes that follow the weights."""
        heads = self.recipe.heads
        lost = gone.get(heads.weight, {}).get(heads.dim)
        if lost is not None and hasattr(self, heads.attribute):
            size = at(self, heads.weight).shape[heads.dim] + len(lost)
            left = heads_left(lost, size, getattr(self, heads.attribute), heads.parts)
            setattr(self, heads.attribute, left)
        for attribute, value in self.recipe.follows.items():
            setattr(self, attribute, value(self))


@cache
def rewritten(path: str) -> type[Rewritten] | None:
    """Return the adapter of the class at ``path``, or None if its source cannot be changed."""
    module, _, name = path.rpartition(".")
    original = getattr(import_module(module), name)
    recipe = RECIPES[path]
    try:
        edits = [_Edit(original, method, recipe) for method in recipe.methods]
        changed = {edit.method: edit.compiled() for edit in edits}
    except (OSError, SyntaxError):
        return None
    own = {
        **changed,
        "__module__": __name__,
        "__doc__": f"`{path}` whose sizes follow its weights.",
        "recipe": recipe,
        "needs_scale": any(edit.needs_scale for edit in edits),
    }
    made: type[Rewritten] = type(path.replace(".", "__"), (Rewritten, original), own)
    return made


def __getattr__(name: str) -> type[Rewritten]:
    """Find a rewritten class by its own name, as unpickling does."""
    for path in RECIPES:
        if path.replace(".", "__") == name:
            found = rewritten(path)
            if found is not None:
                return found
    raise AttributeError(f"There is no class or function {name!r} in {__name__}.")


class _Edit(ast.NodeTransformer):
    """Changes one method of a class."""

    def __init__(self, original: type, method: str, recipe: Recipe) -> None:
        self.method, self.needs_scale, self._recipe = method, False, recipe
        function = inspect.unwrap(getattr(original, method))
        self._globals = function.__globals__
        self._file = f"<{original.__module__}.{original.__qualname__}.{method}, sizes following>"
        self._tree = self.visit(ast.parse(textwrap.dedent(inspect.getsource(function))))

    def visit(self, node: ast.AST) -> Any:
        """Put in what stands for an expression, if the recipe names it."""
        if isinstance(node, ast.expr) and self._recipe.exact:
            stand_in = self._recipe.exact.get(ast.unparse(node))
            if stand_in is not None:
                return ast.parse(stand_in, mode="eval").body
        return super().visit(node)

    def visit_Call(self, node: ast.Call) -> ast.Call:
        """Change reshapes, splits and attention."""
        self.generic_visit(node)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else None
        if name in _RESHAPES:
            self._open(node)
        elif name == "split":
            return _with_helper(node)
        elif name == _ATTENTION and not any(key.arg == "scale" for key in node.keywords):
            self.needs_scale = True
            scale = ast.parse("self.scale", mode="eval").body
            node.keywords.append(ast.keyword("scale", scale))
        return node

    def _open(self, node: ast.Call) -> None:
        texts = [ast.unparse(argument) for argument in node.args]
        hits = [at for at, text in enumerate(texts) if text in self._recipe.sizes]
        if len(hits) == 1 and "-1" not in texts:
            node.args[hits[0]] = ast.Constant(-1)

    def compiled(self) -> Callable[..., Any]:
        """Return the changed method; its source can be seen in tracebacks."""
        body = textwrap.indent(ast.unparse(self._tree), "    ")
        text = f"def make({_HELPER}):\n{body}\n    return {self.method}\n"
        linecache.cache[self._file] = (len(text), None, text.splitlines(True), self._file)
        found: dict[str, Any] = {}
        exec(compile(text, self._file, "exec"), self._globals, found)
        method: Callable[..., Any] = found["make"](_split)
        return method


def _with_helper(node: ast.Call) -> ast.Call:
    """Turn ``x.split(sizes, dim)`` and ``torch.split(x, sizes, dim)`` into a call of `_split`."""
    assert isinstance(node.func, ast.Attribute)
    owner = node.func.value
    of_torch = isinstance(owner, ast.Name) and owner.id == "torch"
    arguments = node.args if of_torch else [owner, *node.args]
    return ast.Call(ast.Name(_HELPER, ast.Load()), arguments, node.keywords)


def _split(x: Tensor, sizes: int | Sequence[int], dim: int = 0) -> Sequence[Tensor]:
    """Split ``x`` in the proportion of ``sizes``, which were written for the dense model."""
    if not isinstance(sizes, int):
        whole = sum(sizes)
        sizes = [size * x.shape[dim] // whole for size in sizes]
    parts: Sequence[Tensor] = x.split(sizes, dim)
    return parts
