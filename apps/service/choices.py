"""What a caller may choose for a run, and the system that works so: models and strategies share all else."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace

from pydantic import Field

from agents.schemas import Frozen, Level
from agents.strategies import STRATEGIES
from apps.service.errors import UnusableError
from apps.service.limits import ServiceLimits
from core.errors import UserError
from graphs.components import load_chat_models
from graphs.system import GeoSleuth

_KEPT = 16
_ORDER = tuple(Level)


class RunChoices(Frozen):
    """Choices of a caller; None: the server's."""

    model: str | None = Field(None, description="chat model, one of those that the server offers")
    strategy: str | None = Field(None, description="which steps run")
    atlases: tuple[str, ...] | None = Field(
        None, min_length=1, max_length=100, description="atlases to search, of those that the server offers"
    )
    max_precision: Level | None = Field(None, description="coarsen the answer to this level; never finer than allowed")


SERVERS_CHOICE = RunChoices()


class OfferedSystems:
    """Systems by choices, made from one open system when they are first asked for. Safe between threads."""

    def __init__(self, system: GeoSleuth, limits: ServiceLimits) -> None:
        self._system, self._limits = system, limits
        self._made: OrderedDict[RunChoices, GeoSleuth] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def models(self) -> tuple[str, ...]:
        """Chat models that may be chosen, the server's own first."""
        return tuple(dict.fromkeys((self._system.settings.model, *self._limits.models)))

    @property
    def atlases(self) -> tuple[str, ...]:
        """Atlases that may be chosen, the server's own first."""
        return tuple(self._system.components.atlases)

    @property
    def strategies(self) -> tuple[str, ...]:
        """Strategies that can run here, the server's own first."""
        own = self._system.settings.strategy
        return tuple(dict.fromkeys((own, *(name for name in STRATEGIES if self._can_run(name)))))

    @property
    def precisions(self) -> tuple[Level, ...]:
        """Levels that may be chosen, finest first."""
        allowed = self._system.settings.max_precision
        return _ORDER if allowed is None else _ORDER[_ORDER.index(allowed) :]

    def find(self, choices: RunChoices) -> GeoSleuth:
        """The system that works so.

        Raises:
            UnusableError: a model or an atlas that is not offered, or a strategy that cannot run here.
            UserError: the model cannot be loaded, or the strategy needs an atlas, and none was chosen.
        """
        choices = choices.model_copy(update={"atlases": self._searched(choices.atlases)})
        with self._lock:
            if choices not in self._made:
                self._made[choices] = self._make(choices)
                if len(self._made) > _KEPT:
                    self._made.popitem(last=False)
            self._made.move_to_end(choices)
            return self._made[choices]

    def _make(self, choices: RunChoices) -> GeoSleuth:
        system, settings = self._system, self._system.settings
        if choices.model is not None and choices.model not in self.models:
            raise UnusableError(f"the model {choices.model!r} is not offered; there are: {', '.join(self.models)}")
        if choices.strategy is not None and choices.strategy not in self.strategies:
            raise UnusableError(f"the strategy {choices.strategy!r} is not offered; see {', '.join(self.strategies)}")
        strategy = choices.strategy or settings.strategy
        if choices.atlases is not None:
            system = system.with_atlases(choices.atlases)
        if choices.model not in (None, settings.model):
            with_model = settings.model_copy(update={"model": choices.model})
            loaded = load_chat_models(with_model, settings.find_strategy(strategy))
            system = system.with_strategy(strategy, loaded)
        elif strategy != settings.strategy:
            system = system.with_strategy(strategy)
        coarser = max((choices.max_precision, settings.max_precision), key=_coarseness)
        return replace(system, settings=system.settings.model_copy(update={"max_precision": coarser}))

    def _searched(self, chosen: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """The chosen atlases in the server's order; None: its own ones.

        Raises:
            UnusableError: one that is not offered.
        """
        if chosen is None:
            return None
        unknown = next((name for name in chosen if name not in self.atlases), None)
        if unknown is not None:
            there = ", ".join(self.atlases) or "none"
            raise UnusableError(f"the atlas {unknown!r} is not offered; there are: {there}")
        ordered = tuple(name for name in self.atlases if name in chosen)
        return None if ordered == self._system.settings.atlases else ordered

    def _can_run(self, name: str) -> bool:
        settings = self._system.settings
        try:
            strategy = settings.find_strategy(name)
            strategy.check_model_count(len(self._system.context.models))
            strategy.check_atlas(bool(self.atlases))
        except UserError:
            return False
        return True


def _coarseness(level: Level | None) -> int:
    return -1 if level is None else _ORDER.index(level)
