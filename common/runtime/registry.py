"""Things by name, each imported when it is first asked for, so that listing the names costs nothing."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Generic, TypeVar, cast

Thing = TypeVar("Thing")


class Registry(Mapping[str, Thing], Generic[Thing]):
    """Registry(selena="common.defenses.selena:DEFENSE")["selena"] is DEFENSE of that module."""

    def __init__(self, **places: str) -> None:
        self._places = places

    def __getitem__(self, name: str) -> Thing:
        module, _, attribute = self._places[name].partition(":")
        return cast(Thing, getattr(import_module(module), attribute))

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places
