"""The whole system from settings: open it once, locate many photos, close it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langsmith.utils import tracing_is_enabled

from agents.chat_models.registry import LoadedModel, ModelDescription, find_model
from agents.schemas import Answer, Versions
from geo.places.gazetteer import Gazetteer
from graphs.audit import audit_entry, write_audit_line
from graphs.checkpoints import open_checkpoints
from graphs.coarsening import Units, coarsen
from graphs.components import (
    EMBEDDED_GROUND,
    EMBEDDED_PLACES,
    Progress,
    clusterer,
    ground_source,
    load_chat_model,
    namer,
    on_land,
    open_atlases,
    open_parameters,
    place_source,
    tempered,
)
from graphs.context import GeolocateContext
from graphs.events.steps import Answered, Event, StepDone, step_event
from graphs.geolocate import Geolocate, build_geolocate
from graphs.inference.correcting import open_corrections
from graphs.nodes.tool_calls import TOOL_CALL_TASK
from graphs.settings import Settings
from graphs.state import AnswerOutput, CaptureClues, PhotoInput
from retrieval.encoders.registry import load_encoder
from retrieval.photos.photo import Photo
from retrieval.photos.store import PhotoStore
from tools.registry import Clients, build_tools
from tools.services.atlas_search import PhotoSearch, ReferenceExclusion
from tools.services.ocr import OcrOutput, OcrReader


@dataclass(frozen=True, kw_only=True)
class GeoSleuth:
    """An open system. One process at a time can hold its atlases; close it, or use it as a context manager.

    Attributes:
        settings: what it was opened with.
        context: model, tools and data, for those who build other graphs on them.
        graph: the state machine.
    """

    settings: Settings
    context: GeolocateContext
    graph: Geolocate
    gazetteer: Gazetteer
    units: Units
    photo_store: PhotoStore
    model: ModelDescription
    resources: ExitStack

    @classmethod
    def open(
        cls,
        settings: Settings,
        progress: Progress | None = None,
        *,
        model: LoadedModel | None = None,
        exclusion: ReferenceExclusion | None = None,
    ) -> Self:
        """Load what the settings name; the first time, build the default atlas, telling `progress`.

        Args:
            settings: what to open.
            progress: told about the building of the default atlas.
            model: in the LMM's seat, instead of the one the settings name.
            exclusion: what searches must not see; for evaluations.

        Raises:
            UserError: something missing or unusable that the user can mend.
        """
        with ExitStack() as opened:
            context, gazetteer, photo_store = _bench(settings, opened, progress, model, exclusion)
            checkpointer = None
            if settings.checkpoints:
                checkpointer = open_checkpoints(settings.checkpoints)
                opened.callback(checkpointer.conn.close)
            return cls(
                settings=settings,
                context=context,
                graph=build_geolocate(context, checkpointer),
                gazetteer=gazetteer,
                units=Units(gazetteer),
                photo_store=photo_store,
                model=find_model(model.name if model else settings.model),
                resources=opened.pop_all(),
            )

    def locate(
        self, photo: Photo, question: str = "", thread: str | None = None, clues: CaptureClues | None = None
    ) -> Answer:
        """Where a photo was taken; writes an audit line. Many threads may call it at once.

        Args:
            photo: its metadata is used only if the settings allow it.
            question: what the user wants to know.
            thread: names the run in the checkpoints; a run of that name that died goes on where it was.
            clues: when it was taken and how the sun stood, if the user knows; for the sun check only.

        Raises:
            UserError: the audit log cannot be written.
        """
        output = self.graph.invoke(*self._run(photo, question, thread, clues))
        told = self.told(cast(AnswerOutput, output)["answer"])
        self.note(told, question)
        return told

    def stream(
        self, photo: Photo, question: str = "", thread: str | None = None, clues: CaptureClues | None = None
    ) -> Generator[Event, None, None]:
        """The same, an event a step, the answer last."""
        for update in self.graph.stream(*self._run(photo, question, thread, clues), stream_mode="updates"):
            for step, changed in cast(Mapping[str, Any], update).items():
                if step == "commit":
                    told = self.told(changed["answer"])
                    self.note(told, question)
                    yield Answered(answer=told)
                elif step not in ("initialise", TOOL_CALL_TASK):
                    # A step tells more than a coarsened answer may: then only its name is told.
                    yield StepDone(step=step, text=step) if self.settings.max_precision else step_event(step, changed)

    def with_strategy(self, name: str, model: LoadedModel | None = None) -> Self:
        """The same system with another strategy, and perhaps another model: it shares all else, and closes with it.

        Raises:
            UserError: no such strategy.
        """
        seat = model or self.context.model
        versions = self.context.versions.model_copy(update={"strategy": name, "model": seat.name})
        strategy = self.settings.find_strategy(name)
        settings = self.settings.model_copy(update={"strategy": name})
        # Files were fitted for the strategy the settings name: another one has at most a packaged calibration.
        own = settings.model_copy(update={"calibration": None})
        context = replace(
            self.context,
            strategy=strategy,
            model=tempered(seat, strategy),
            versions=versions,
            corrections=open_corrections(
                settings if name == self.settings.strategy else own,
                versions,
                strategy,
                self.context.corrections.kinds,
                self.context.parameters,
            ),
        )
        graph = build_geolocate(context, cast(BaseCheckpointSaver[str] | None, self.graph.checkpointer))
        described = find_model(model.name) if model else self.model
        return replace(self, settings=settings, context=context, graph=graph, model=described, resources=ExitStack())

    def close(self) -> None:
        """Let go of atlases and checkpoints."""
        self.resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(
        self, photo: Photo, question: str, thread: str | None, clues: CaptureClues | None
    ) -> tuple[PhotoInput | None, RunnableConfig]:
        """The input of a run (None to go on with one that died) and its configuration."""
        photo_id = self.photo_store.add(photo)
        config: RunnableConfig = {"configurable": {"thread_id": thread or photo_id}, "recursion_limit": 1000}
        if thread and self.settings.checkpoints and self.graph.get_state(config).tasks:
            return None, config
        allowed = photo.metadata if self.settings.allow_metadata else None
        given = PhotoInput(
            photo_id=photo_id,
            photo_sha256=photo.sha256,
            question=question,
            metadata_position=allowed.position if allowed else None,
            clues=_clues(clues, allowed.taken_at if allowed else None),
        )
        return given, config

    def told(self, answer: Answer) -> Answer:
        """An answer as it may be told: no finer than the settings allow."""
        level = self.settings.max_precision
        return coarsen(answer, level, self.units) if level else answer

    def note(self, told: Answer | None, question: str) -> None:
        """Write the audit line of a query, or of a turn of a conversation.

        Raises:
            UserError: the audit log cannot be written.
        """
        write_audit_line(self.settings.audit_path, audit_entry(told, question, self._left_the_machine()))

    def _left_the_machine(self) -> list[str]:
        left = ["photo and question, to the model"] if self.model.leaves_the_machine else []
        if self.settings.satellite_source != EMBEDDED_GROUND:
            left.append(f"positions of hypotheses, to {self.settings.satellite_source}, if the model asked for a view")
        if self.settings.geocoder != EMBEDDED_PLACES:
            left.append(f"positions of hypotheses and names read on signs, to {self.settings.geocoder}")
        if tracing_is_enabled():
            left.append("every step of the run, to LangSmith")
        return left


def _clues(said: CaptureClues | None, taken_at: str | None) -> CaptureClues | None:
    """What the user said; where they gave no time, the file's, which is None unless they allowed metadata."""
    if taken_at is None or (said and said.taken_at):
        return said
    return (said or CaptureClues()).model_copy(update={"taken_at": taken_at})


def _bench(
    settings: Settings,
    opened: ExitStack,
    progress: Progress | None,
    model: LoadedModel | None,
    exclusion: ReferenceExclusion | None,
) -> tuple[GeolocateContext, Gazetteer, PhotoStore]:
    encoder = load_encoder(settings.encoder, settings.threads)
    gazetteer, photo_store = Gazetteer(), PhotoStore()
    atlases = open_atlases(settings, encoder, gazetteer, opened, progress)
    parameters = open_parameters(settings)
    cluster = clusterer(parameters)
    search = PhotoSearch(atlases, encoder, photo_store, exclusion)
    clients = Clients(
        photo_store=photo_store,
        search=search,
        cluster=cluster,
        places=place_source(settings, gazetteer, opened),
        is_land=on_land,
        reader=OcrReader(OcrOutput(threads=settings.threads)),
        ground=ground_source(settings, opened),
    )
    tools = {tool.name: tool for tool in build_tools(clients) if settings.read_signs or tool.name != "read_signs"}
    strategy = settings.find_strategy(settings.strategy)
    versions = Versions(
        geosleuth=version("geosleuth"),
        encoder=f"{encoder.identity.name}@{encoder.identity.revision}",
        atlases=tuple(atlas.name for atlas in atlases),
        model=model.name if model else settings.model,
        strategy=settings.strategy,
    )
    kinds = {atlas.manifest.kind for atlas in atlases}
    context = GeolocateContext(
        model=load_chat_model(settings, model),
        tools=tools,
        photo_store=photo_store,
        places=namer(gazetteer),
        cluster=cluster,
        dissimilar=search.least_similar,
        strategy=strategy,
        budgets=settings.budgets,
        parameters=parameters,
        min_confidence=settings.min_confidence,
        read_signs=settings.read_signs,
        recall_limit=settings.recall_limit,
        versions=versions,
        corrections=open_corrections(settings, versions, strategy, kinds, parameters),
    )
    return context, gazetteer, photo_store
