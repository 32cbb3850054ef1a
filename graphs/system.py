"""The whole system from settings: open it once, locate many photos, close it."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Self, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from agents.chat_models.kinds import ModelDescription
from agents.chat_models.registry import LoadedModel
from agents.chat_models.spec import find_jury, find_model
from agents.schemas import Answer
from belief.posterior import Belief
from core.closing import Closing
from core.errors import UserError
from graphs.assessment.calibration import open_corrections
from graphs.audit import audit_entry, write_audit_line
from graphs.coarsening import Units, coarsen
from graphs.components import (
    Components,
    Progress,
    at_temperature,
    atlas_kinds,
    make_context,
    model_names,
    open_clients,
    open_components,
    searching,
)
from graphs.context import GeolocateContext
from graphs.events.steps import Answered, Event, StepDone, step_event
from graphs.geolocate import Geolocate, build_geolocate
from graphs.nodes.commit import last_belief
from graphs.nodes.tool_calls import TOOL_CALL_TASK
from graphs.online_services import data_that_leaves
from graphs.settings import Settings
from graphs.state import AnswerOutput, CaptureClues, FullState, PhotoInput, photo_hashes, query_input
from retrieval.photos.photo import Photo
from retrieval.photos.store import PhotoStore
from retrieval.photos.together import check_together
from tools.registry import Clients
from tools.services.atlas_search import PhotoSearch, ReferenceExclusion


@dataclass(frozen=True, kw_only=True)
class GeoSleuth(Closing):
    """An open system; any number of processes may have one over the same atlases. Close it, or use it in `with`.

    Attributes:
        settings: what it was opened with.
        context: models, tools and data, for those who build other graphs on them.
        graph: the state machine.
        units: cities, regions and countries that answers are coarsened to.
        photo_store: where the tools find photos.
        models: describe the chat models, of which only a jury has several, and where photos go to.
        components: atlases, encoder and data that are open, also those that this system does not search.
        clients: what the tools work with.
        resources: closed with the system.
    """

    settings: Settings
    context: GeolocateContext
    graph: Geolocate
    units: Units
    photo_store: PhotoStore
    models: tuple[ModelDescription, ...]
    components: Components
    clients: Clients
    resources: ExitStack

    @property
    def search(self) -> PhotoSearch | None:
        """Searches the atlases; None where there is none."""
        return self.clients.search

    @classmethod
    def open(
        cls,
        settings: Settings,
        progress: Progress | None = None,
        *,
        model: LoadedModel | Sequence[LoadedModel] | None = None,
        exclusion: ReferenceExclusion | None = None,
        more_atlases: Sequence[str] = (),
        encoder_batch: int = 1,
        at_once: int = 1,
    ) -> Self:
        """Load what the settings name; an atlas of the world that is named for the first time is built.

        Args:
            settings: what to open.
            progress: called with items done and items in all while the atlas of the world is built.
            model: the chat model to use instead of the one that the settings name, or those of a jury.
            exclusion: what searches must not see; for evaluations.
            more_atlases: to open beside those of the settings, for `with_atlases`.
            encoder_batch: photos of threads that search at once which are encoded together, at most; 1: none.
            at_once: photos that the caller's threads will locate at once; signs are read in as many, one a core.

        Raises:
            UserError: something missing or unusable that the user can mend.
        """
        settings.find_strategy(settings.strategy).check_atlas(bool(settings.atlases))
        with ExitStack() as opened:
            every = settings.model_copy(update={"atlases": tuple(dict.fromkeys((*settings.atlases, *more_atlases)))})
            components = open_components(every, opened, progress, exclusion, encoder_batch)
            searched = searching(components, settings.atlases)
            clients = open_clients(settings, searched, opened, at_once)
            context = make_context(settings, searched, clients, _jury(model))
            checkpointer = None
            if settings.checkpoints:
                from graphs.checkpoints import open_checkpoints

                checkpointer = open_checkpoints(settings.checkpoints)
                opened.callback(checkpointer.conn.close)
            return cls(
                settings=settings,
                context=context,
                graph=build_geolocate(context, checkpointer),
                units=Units(components.gazetteer),
                photo_store=components.photo_store,
                models=tuple(find_model(one.name) for one in context.models) if model else find_jury(settings.model),
                components=components,
                clients=clients,
                resources=opened.pop_all(),
            )

    def locate(
        self,
        photo: Photo,
        question: str = "",
        thread: str | None = None,
        clues: CaptureClues | None = None,
        *,
        more: Sequence[Photo] = (),
    ) -> Answer:
        """Locate a photo and write an audit line. Many threads may call it at once.

        Args:
            photo: its metadata is used only if the settings allow it.
            question: what the user wants to know.
            thread: names the run in the checkpoints; a run of that name that died goes on where it was, if it was of
                this photo.
            clues: when it was taken and how the sun stood, if the user knows; for the sun check only.
            more: further photos of the same place, at most seven: all are one query with one answer.

        Raises:
            UserError: the audit log cannot be written, the run that died was of other photos, or photos that cannot
                be one query.
        """
        output = self.graph.invoke(*self._run((photo, *more), question, thread, clues))
        return self._finish(cast(AnswerOutput, output)["answer"], question)

    def locate_with_belief(self, photo: Photo, *, more: Sequence[Photo] = ()) -> tuple[Answer, Belief]:
        """Locate a photo as `locate` does; also the belief that the answer was read off, which nothing coarsens.

        Raises:
            UserError: as `locate`.
        """
        given = self._run((photo, *more), "", None, None)
        state = cast(FullState, self.graph.invoke(*given, output_keys=self.graph.stream_channels_list))
        return self._finish(state["answer"], ""), last_belief(self.context, state)

    def stream(
        self,
        photo: Photo,
        question: str = "",
        thread: str | None = None,
        clues: CaptureClues | None = None,
        *,
        more: Sequence[Photo] = (),
    ) -> Generator[Event, None, None]:
        """Locate a photo as `locate` does: an event after each step, the answer last.

        Raises:
            UserError: as `locate`.
        """
        for update in self.graph.stream(*self._run((photo, *more), question, thread, clues), stream_mode="updates"):
            for step, changed in cast(Mapping[str, Any], update).items():
                if step == "commit":
                    yield Answered(answer=self._finish(changed["answer"], question))
                elif step not in ("initialise", TOOL_CALL_TASK):
                    # What a step found may be finer than a coarsened answer: then only its name is reported.
                    yield StepDone(step=step, text=step) if self.settings.max_precision else step_event(step, changed)

    def with_strategy(self, name: str, model: LoadedModel | Sequence[LoadedModel] | None = None) -> Self:
        """The same system with another strategy, and perhaps another model; it shares all else, and closes with it.

        Raises:
            UserError: no such strategy, or one that asks one model, and there are several.
        """
        chosen = _jury(model) or self.context.models
        versions = self.context.versions.model_copy(update={"strategy": name, "model": model_names(chosen)})
        strategy = self.settings.find_strategy(name)
        strategy.check_model_count(len(chosen))
        strategy.check_atlas(bool(self.settings.atlases))
        settings = self.settings.model_copy(update={"strategy": name})
        # Files were fitted for the strategy the settings name: another one has at most a packaged calibration.
        fitted = settings if name == self.settings.strategy else settings.model_copy(update={"calibration": None})
        parameters, kinds = self.context.parameters, self.context.corrections.kinds
        context = replace(
            self.context,
            strategy=strategy,
            models=tuple(at_temperature(one, strategy.temperature) for one in chosen),
            versions=versions,
            corrections=open_corrections(fitted, versions, strategy, kinds, parameters),
        )
        graph = build_geolocate(context, cast(BaseCheckpointSaver[str] | None, self.graph.checkpointer))
        described = tuple(find_model(one.name) for one in chosen) if model else self.models
        return replace(self, settings=settings, context=context, graph=graph, models=described, resources=ExitStack())

    def with_atlases(self, names: Sequence[str]) -> Self:
        """The same system over some of the open atlases; it shares all else, and closes with it.

        Raises:
            UserError: an atlas that is not open, or none where the strategy needs one.
        """
        unknown = next((name for name in names if name not in self.components.atlases), None)
        if unknown is not None:
            there = ", ".join(self.components.atlases) or "none"
            raise UserError(f"the atlas {unknown!r} is not open; there are: {there}")
        components = searching(self.components, names)
        self.context.strategy.check_atlas(bool(components.atlases))
        settings = self.settings.model_copy(update={"atlases": tuple(components.atlases)})
        if atlas_kinds(components) != set(self.context.corrections.kinds):  # the calibration was fitted for other ones
            settings = settings.model_copy(update={"calibration": None})
        clients = replace(self.clients, search=components.search)
        context = make_context(settings, components, clients, self.context.models)
        graph = build_geolocate(context, cast(BaseCheckpointSaver[str] | None, self.graph.checkpointer))
        return replace(self, settings=settings, context=context, graph=graph, clients=clients, resources=ExitStack())

    def coarsened(self, answer: Answer) -> Answer:
        """The answer, no finer than the settings allow."""
        level = self.settings.max_precision
        return coarsen(answer, level, self.units) if level else answer

    def write_audit_line(self, answer: Answer | None, question: str) -> None:
        """Write the audit line of a query, or of a turn of a conversation.

        Args:
            answer: coarsened; None in a conversation before the first photo.
            question: in the user's words.

        Raises:
            UserError: the audit log cannot be written.
        """
        write_audit_line(self.settings.audit_path, audit_entry(answer, question, self.data_that_leaves()))

    def close(self) -> None:
        """Close the atlases and the checkpoints."""
        self.resources.close()

    def check_together(self, names: Sequence[str], sha256s: Sequence[str | None]) -> None:
        """Refuse photos that cannot be one query.

        Args:
            names: what people call them.
            sha256s: of their files.

        Raises:
            UserError: too many, one twice, or a recorded model, whose answers are about one photo each.
        """
        check_together(names, sha256s)
        recorded = next((model.name for model in self.context.models if model.kind.is_recorded), None)
        if recorded and len(names) > 1:
            raise UserError(f"{recorded} answers about one photo each: several photos of one place need another model")

    def _run(
        self, photos: Sequence[Photo], question: str, thread: str | None, clues: CaptureClues | None
    ) -> tuple[PhotoInput | None, RunnableConfig]:
        """The input of a run (None to go on with one that died) and its configuration."""
        self.check_together([photo.name for photo in photos], [photo.sha256 for photo in photos])
        ids = [self.photo_store.add(photo) for photo in photos]
        config: RunnableConfig = {"configurable": {"thread_id": thread or "+".join(ids)}, "recursion_limit": 1000}
        given = query_input(photos, question, clues, allow_metadata=self.settings.allow_metadata)
        if thread and self.settings.checkpoints:
            saved = self.graph.get_state(config)
            if saved.tasks and photo_hashes(cast(PhotoInput, saved.values)) == photo_hashes(given):
                return None, config
            if saved.tasks:
                raise UserError(f"the run {thread!r} that died is of another photo; choose another name")
        return given, config

    def _finish(self, answer: Answer, question: str) -> Answer:
        coarsened = self.coarsened(answer)
        self.write_audit_line(coarsened, question)
        return coarsened

    def data_that_leaves(self) -> list[str]:
        """What a query sends to other machines, and to which, in words; empty: nothing."""
        return data_that_leaves(self.settings, self.models)


def _jury(model: LoadedModel | Sequence[LoadedModel] | None) -> tuple[LoadedModel, ...]:
    """The models that a caller gave: none, one or several."""
    if model is None:
        return ()
    return (model,) if isinstance(model, LoadedModel) else tuple(model)
