"""Import a user's files as they expect to be imported, without leaving their names behind.

A file becomes a module with a name of its own (``autoprune_user_model_1a2b3c4d``), so two folders
that both hold a ``model.py`` never mix, and its classes stay importable by name for pickle.
While `importing_from` is open, ``import model`` inside the user's code finds the file beside it
first, as when Python runs a script there.
"""

import hashlib
import importlib
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

PREFIX = "autoprune_user_"  # of the names of such modules
_LOCK = threading.RLock()


def import_file(path: Path) -> ModuleType:
    """Return the module of ``path``; the same file gives the same module each time.

    A file inside a package (its folder holds ``__init__.py``) is imported as part of the package,
    so its relative imports work. Whatever the file raises passes through.
    """
    path = path.resolve()
    top, names = path, [path.stem]
    while (top.parent / "__init__.py").exists():
        top = top.parent
        names.insert(0, top.name)
    with importing_from(path.parent, *([top.parent] if top != path else [])):
        if top == path:
            return _load(path)
        name = _load(top / "__init__.py").__name__
        return importlib.import_module(".".join([name, *names[1:]]).removesuffix(".__init__"))


@contextmanager
def importing_from(*folders: Path) -> Iterator[None]:
    """Let ``import NAME`` find files and packages in ``folders`` first, and forget NAME after.

    Modules that Python would find at the same place anyway keep their usual names.
    """
    with _LOCK:
        finder = _Siblings(folders)
        hidden = {name: sys.modules.pop(name) for name in _clashing(finder)}
        sys.meta_path.insert(0, finder)
        try:
            yield
        finally:
            sys.meta_path.remove(finder)
            for name in finder.served:
                sys.modules.pop(name, None)
            sys.modules.update(hidden)


def _clashing(finder: "_Siblings") -> list[str]:
    """Loaded modules that a sibling would shadow, with their submodules; never Python's own."""
    tops = set()
    for name, module in list(sys.modules.items()):
        if "." not in name and name not in sys.stdlib_module_names and finder.path_of(name):
            loaded = getattr(module, "__file__", None)
            if loaded and Path(loaded).resolve() != finder.path_of(name):
                tops.add(name)
    return [name for name in sys.modules if name.partition(".")[0] in tops]


def _load(path: Path) -> ModuleType:
    name = _own_name(path)
    if name in sys.modules:
        return sys.modules[name]
    module = sys.modules[name] = module_from_spec(_spec(name, path))
    try:
        if path.is_file() and module.__spec__ and module.__spec__.loader:
            module.__spec__.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _spec(name: str, path: Path) -> ModuleSpec:
    if path.is_dir():
        folder = ModuleSpec(name, None, is_package=True)
        folder.submodule_search_locations = [str(path)]
        return folder
    package = [str(path.parent)] if path.name == "__init__.py" else None
    spec = spec_from_file_location(name, path, submodule_search_locations=package)
    if spec is None:
        raise ImportError(f"{path} is not a Python file")
    return spec


def _own_name(path: Path) -> str:
    stem = path.parent.name if path.name == "__init__.py" else path.stem
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    return f"{PREFIX}{re.sub(r'[^0-9A-Za-z_]', '_', stem)}_{digest}"


class _Siblings(MetaPathFinder):
    """Serves ``import NAME`` with the own-named module of ``folder/NAME``."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = [folder.resolve() for folder in folders]
        self.served: list[str] = []

    def path_of(self, top: str) -> Path | None:
        """File of a module, ``__init__.py`` of a package, or folder with only other files."""
        for folder in self.folders:
            for place in (folder / top / "__init__.py", folder / f"{top}.py"):
                if place.is_file():
                    return place
            if next((folder / top).glob("*.py"), None):
                return folder / top
        return None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top, _, rest = fullname.partition(".")
        place = self.path_of(top)
        if place is None or (rest and top not in self.served):
            return None
        if not rest and self._found_anyway(fullname, place):
            return None
        self.served.append(fullname)
        package = place.is_dir() or place.name == "__init__.py"
        return ModuleSpec(fullname, _Alias(place, rest), is_package=package)

    def _found_anyway(self, name: str, place: Path) -> bool:
        """Tell whether Python finds ``place``, or something before it, without this finder."""
        finders = [finder for finder in sys.meta_path if not isinstance(finder, _Siblings)]
        specs = (finder.find_spec(name, None) for finder in finders)
        origin = next((spec.origin for spec in specs if spec is not None), None)
        return origin is not None and (place.is_dir() or Path(origin).resolve() == place)


class _Alias(Loader):
    """Hands out the module that is loaded under its own name already, or loads it."""

    def __init__(self, path: Path, rest: str) -> None:
        self.path, self.rest = path, rest

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = _load(self.path)
        if self.rest:
            module = importlib.import_module(f"{module.__name__}.{self.rest}")
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec
