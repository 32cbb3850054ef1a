"""Who sits in the LMM's seat: the model of the settings, or one that is given, at the strategy's temperature."""

from __future__ import annotations

from agents.chat_models.registry import MODELS, LoadedModel, ModelOptions, load_model
from agents.strategies import Strategy
from graphs.settings import Settings

_HAVE_NO_TEMPERATURE = frozenset({"offline", "recorded"})


def seated(settings: Settings, given: LoadedModel | None) -> LoadedModel:
    """The model to ask.

    Raises:
        UserError: a model that cannot be loaded.
    """
    strategy = settings.find_strategy(settings.strategy)
    if given is not None:
        return tempered(given, strategy)
    return load_model(settings.model, model_options(settings, strategy))


def model_options(settings: Settings, strategy: Strategy) -> ModelOptions:
    """How the settings and the strategy want a model to be used."""
    return ModelOptions(
        timeout_s=settings.model_timeout_s,
        max_retries=settings.model_retries,
        concurrency=settings.model_concurrency,
        temperature=strategy.temperature,
        prices=settings.prices,
    )


def tempered(model: LoadedModel, strategy: Strategy) -> LoadedModel:
    """The model at the strategy's temperature: loaded again if it is one that has a temperature, and at another."""
    kind = model.name.partition(":")[0]
    if strategy.temperature in (None, model.options.temperature) or kind in _HAVE_NO_TEMPERATURE or kind not in MODELS:
        return model
    return load_model(model.name, model.options.model_copy(update={"temperature": strategy.temperature}))
