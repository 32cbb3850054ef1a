"""Chat models by their spec, loaded and wrapped so that the rest of the system can use any of them alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage

from agents.chat_models.adapter import AdaptedChat
from agents.chat_models.capabilities import capabilities_of
from agents.chat_models.kinds import MODELS, ModelDescription
from agents.chat_models.prices import FREE, Price, find_price, why_unknown
from agents.chat_models.providers import provide
from agents.chat_models.recorded import load_recorded
from agents.chat_models.spec import Capabilities, ModelOptions, ModelSpec, describe, parse_spec
from agents.chat_models.written.replies import load_written
from agents.offline.reasoner import OfflineReasoner

OTHER_MODEL = ModelDescription(name="", summary="a chat model that the caller has loaded")


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model ready for `agents.structured_output.ask`, which retries and reports failures as statuses.

    Attributes:
        name: the spec it was loaded by.
        kind: the registry's row of its kind; `OTHER_MODEL` for a chat model that the caller has loaded.
        chat: `bind_tools` always works.
        capabilities: of the model itself.
        leaves_the_machine: host that photos and questions go to; None: they stay here.
        options: limits and sampling of its requests.
        price: of its tokens; None: not known.
        remarks: what an answer should mention: no pictures, no known price.
    """

    name: str
    chat: BaseChatModel
    kind: ModelDescription = OTHER_MODEL
    capabilities: Capabilities = field(default_factory=Capabilities)
    leaves_the_machine: str | None = None
    options: ModelOptions = field(default_factory=ModelOptions)
    price: Price | None = FREE
    remarks: tuple[str, ...] = ()

    def usd(self, answer: AIMessage) -> float:
        """Cost of a call in US dollars, from the tokens it reports; 0 where no price is known: `remarks` say so."""
        usage = answer.usage_metadata
        # LangChain marks a reply from a cache so.
        is_from_cache = usage is not None and usage.get("total_cost") == 0
        return self.price.usd(usage) if usage and self.price and not is_from_cache else 0.0


def load_model(spec: str, options: ModelOptions | None = None) -> LoadedModel:
    """Load the model of a spec; nothing of a photo is sent.

    Raises:
        UserError: no such model, a package or key that is missing, a file that cannot be read, a server that
            cannot be asked what its model can do.
    """
    parsed = parse_spec(spec)
    kind = MODELS[parsed.kind]
    chosen = (options or ModelOptions()).of_kind(kind)
    if kind.is_served:
        return _load_served(parsed, chosen)
    if kind.is_written:
        return _load_written(parsed, chosen)
    chat = load_recorded(parsed, chosen) if kind.is_recorded else OfflineReasoner()
    return LoadedModel(name=parsed.text, chat=chat, kind=kind, capabilities=Capabilities(images=False), options=chosen)


def _load_served(spec: ModelSpec, options: ModelOptions) -> LoadedModel:
    provided = provide(spec, options)
    able = capabilities_of(spec, provided, options)
    host = describe(spec).leaves_the_machine
    price = _price(spec, host, options)
    chat = AdaptedChat(
        inner=provided.chat,
        label=spec.text,
        able=able,
        dialect=provided.dialect,
        errors=provided.errors,
        concurrency=options.concurrency,
        settings={"temperature": options.temperature, "max_output_tokens": options.max_output_tokens},
        cache=options.cache,
    )
    return LoadedModel(
        name=spec.text,
        chat=chat,
        kind=MODELS[spec.kind],
        capabilities=able,
        leaves_the_machine=host,
        # Loaded again, perhaps at another temperature, it need not be probed again.
        options=options.model_copy(update={"capabilities": able}),
        price=price,
        remarks=tuple(_remarks(spec, able, price)),
    )


def _load_written(spec: ModelSpec, options: ModelOptions) -> LoadedModel:
    """A model whose replies somebody writes: tools are in the prompt, no limit but its own ends a wait."""
    remark = f"replies of {spec.text} were written by whoever read the requests: what that cost is not known, and is 0"
    return LoadedModel(
        name=spec.text,
        chat=load_written(spec, options),
        kind=MODELS[spec.kind],
        leaves_the_machine=describe(spec).leaves_the_machine,
        options=options.model_copy(update={"max_retries": 0}),
        remarks=(remark,),
    )


def _price(spec: ModelSpec, host: str | None, options: ModelOptions) -> Price | None:
    """The known price; a server on this machine costs nothing a token unless the user's file has a price for it."""
    known = find_price(spec, options.prices)
    return FREE if known is None and host is None else known


def _remarks(spec: ModelSpec, able: Capabilities, price: Price | None) -> Iterator[str]:
    if not able.images:
        yield f"the model {spec.text} takes no pictures: the photo was not shown to it"
    if price is None:
        unlimited = "its cost in money is not counted, nor limited"
        yield f"no price is known for {spec.text}: {unlimited} ({why_unknown(spec)})"
