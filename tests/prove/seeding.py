"""Loads the production source with one text replaced, so that everything that imports it works with the defect."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

PACKAGE = "edge_agent.guard.safety"


class Inapplicable(Exception):
    """The text to be replaced does not stand in the source exactly once: the table must follow the source."""


def seeded(source: str, old: str, new: str) -> str:
    """The source with the defect."""
    if source.count(old) != 1:
        raise Inapplicable(f"{old!r} stands {source.count(old)} times in the source, once is needed")
    return source.replace(old, new)


class _SeededLoader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, old: str, new: str) -> None:
        super().__init__(fullname, path)
        self._old, self._new = old, new

    def get_code(self, fullname: str) -> CodeType | None:
        """Compiled anew, never from a cache."""
        source = self.get_source(fullname) or ""
        return compile(seeded(source, self._old, self._new), self.path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    def __init__(self, module: str, old: str, new: str) -> None:
        self._module, self._old, self._new = module, old, new

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Only the module with the defect is found here."""
        if fullname != self._module:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _SeededLoader(fullname, spec.origin, self._old, self._new)
        return spec


def install(module: str, old: str, new: str) -> None:
    """From now on `guard.safety.MODULE` is imported with the defect. It must not have been imported yet."""
    name = f"{PACKAGE}.{module}"
    if name in sys.modules:
        raise Inapplicable(f"{name} was imported before the defect was seeded")
    sys.meta_path.insert(0, _Finder(name, old, new))
