"""The training loop: one for every task and configuration."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Literal, NamedTuple, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from tqdm import tqdm

from core.errors import UserError
from retrieval.training.distributed import ProcessGroup
from retrieval.training.ema import WeightEma, learning_rate_factor, trained_tensors
from retrieval.training.gradient_cache import GradientStep, Part, StepResult, Tensors
from retrieval.training.run_folder import RunFolder

Scores = dict[str, float]


class Batch(NamedTuple):
    """This process's share of a batch: its parts, and labels (rows first) that the loss needs of every photo."""

    parts: list[Part]
    labels: dict[str, Tensor]


class Task(Protocol):
    """What is trained, on what, and how its success is measured.

    Attributes:
        model: its trained weights are kept.
        objective: owns what the loss learns itself; may have no parameters.
        steps_per_epoch: the same in every process.
        photos_per_step: of all processes.
    """

    steps_per_epoch: int
    photos_per_step: int

    @property
    def model(self) -> nn.Module: ...  # noqa: D102  # see above

    @property
    def objective(self) -> nn.Module: ...  # noqa: D102  # see above

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """The batches of steps first..last-1, the same in every run of the same seed."""
        ...

    def embed(self, part: Part) -> dict[str, Tensor]:
        """Vectors of a part."""
        ...

    def loss(self, embeddings: Tensors, labels: Tensors) -> dict[str, Tensor]:
        """Weighted terms over the whole batch."""
        ...

    def after_step(self, labels: Tensors) -> None:
        """Called with this process's labels once the weights have changed."""
        ...

    def validate(self) -> Scores:
        """Scores on photos that are not trained on; in the leading process only."""
        ...

    def state(self) -> dict[str, Any]:
        """What else a resumed run needs: tensors and plain values."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        ...


class LoopConfig(BaseModel):
    """How long, how fast, and what is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(gt=0)
    batch: int = Field(gt=0, description="photos a step, of all processes together")
    chunk: int = Field(0, ge=0, description="photos embedded at a time on one device; 0: all (gradient caching)")
    learning_rate: float = Field(gt=0.0)
    weight_decay: float = Field(0.0, ge=0.0)
    betas: tuple[float, float] = (0.9, 0.999)
    warm_up: float = Field(0.05, ge=0.0, lt=1.0, description="share of the steps")
    schedule: Literal["cosine", "constant"] = "cosine"
    clip: float = Field(1.0, ge=0.0, description="largest norm of the gradient; 0: no limit")
    average: float = Field(0.0, ge=0.0, lt=1.0, description="decay of the running average of the weights; 0: none")
    bf16: bool = False
    compile: bool = Field(False, description="torch.compile the model; minutes at the start, faster steps on a GPU")
    checkpoint_steps: int = Field(1000, gt=0)
    validate_epochs: int = Field(1, ge=0, description="0: never")
    select: str = Field("geoscore", description="the validation score whose best weights are kept")
    patience: int = Field(0, ge=0, description="validations without a better score before stopping; 0: never stop")
    tensorboard: bool = True


class Trainer:
    """Trains a task to the end, from wherever its run folder stands.

    Args:
        task: what to train.
        loop: how.
        run: where files go.
        world: the processes.
        seed: of the run.
        recipe: JSON of everything a checkpoint depends on; another recipe's checkpoint is refused.
    """

    def __init__(
        self, task: Task, loop: LoopConfig, run: RunFolder, process_group: ProcessGroup, seed: int, recipe: str
    ) -> None:
        self.task, self.loop, self.run, self.process_group, self.seed, self.recipe = (
            task,
            loop,
            run,
            process_group,
            seed,
            recipe,
        )
        self.steps = loop.epochs * task.steps_per_epoch
        if self.steps == 0:
            raise UserError(f"loop.batch: {loop.batch} is more than the photos there are: use a smaller batch")
        self.optimiser = torch.optim.AdamW(_groups(task, loop.weight_decay), loop.learning_rate, betas=loop.betas)
        self.average = WeightEma(task.model, loop.average)
        autocast = torch.bfloat16 if loop.bf16 else None
        self._gradients = GradientStep(task.embed, task.loss, task.objective, process_group, autocast)
        self.step, self.best, self.stale = 0, -float("inf"), 0

    def fit(self) -> Scores:
        """Train; the scores of the best weights, which are in the model and on disk afterwards."""
        self.process_group.same_weights(self.task.model)
        self.process_group.same_weights(self.task.objective)
        self._resume()
        if self.loop.compile:
            self.task.model.compile()
        with ExitStack() as stack:
            writer = self._writer(stack)
            self._train(writer)
        return self._finish()

    def _train(self, writer: Any) -> None:
        bar = tqdm(total=self.steps, initial=self.step, desc="train", disable=not self.process_group.leads, unit="step")
        started = time.perf_counter()
        with bar:
            for batch in self.task.batches(self.step, self.steps):
                result, norm = self._one(batch)
                now = time.perf_counter()
                self._report(result, norm, now - started, bar, writer)
                started = now
                if self._after(writer):
                    return

    def _one(self, batch: Batch) -> tuple[StepResult, float]:
        """One optimisation step."""
        self.task.model.train()
        share = learning_rate_factor(self.step, self.steps, round(self.loop.warm_up * self.steps), self.loop.schedule)
        for group in self.optimiser.param_groups:
            group["lr"] = self.loop.learning_rate * share
        self.optimiser.zero_grad(set_to_none=True)
        seed = (self.seed * 1_000_003 + self.step) * 4096 + self.process_group.rank * 64
        result = self._gradients(batch.parts, batch.labels, seed)
        norm = self._clip(result)
        self.optimiser.step()
        self.average.update()
        self.task.after_step(batch.labels)
        self.step += 1
        return result, norm

    def _clip(self, result: StepResult) -> float:
        trained = [one for group in self.optimiser.param_groups for one in group["params"] if one.grad is not None]
        self.process_group.add_up(one.grad for one in trained)
        norm = float(nn.utils.clip_grad_norm_(trained, self.loop.clip or float("inf")))
        if not all(abs(value) < float("inf") for value in (*result.terms.values(), norm)):
            raise UserError(
                f"the loss is not a finite number at step {self.step + 1} ({result.terms}, gradient norm {norm}): "
                "lower loop.learning_rate or set loop.bf16=false, and run again from the last checkpoint"
            )
        return norm

    def _after(self, writer: Any) -> bool:
        """Validate and keep what is due; True to stop early."""
        per_epoch, due = self.task.steps_per_epoch, False
        epoch, rest = divmod(self.step, per_epoch)
        last = self.step == self.steps
        if self.loop.validate_epochs and rest == 0 and (epoch % self.loop.validate_epochs == 0 or last):
            due = True
            self._validate(writer)
        stop = self.process_group.agree(bool(self.loop.patience) and self.stale >= self.loop.patience) if due else False
        if due or last or rest == 0 or self.step % self.loop.checkpoint_steps == 0:
            self._keep()
        return stop

    def _validate(self, writer: Any) -> None:
        if self.process_group.leads:
            self.task.model.eval()
            with self.average.in_place(), torch.no_grad():
                scores = self.task.validate()
                self._judge(scores)
            self.run.log({"step": self.step, "validation": scores})
            for name, value in scores.items() if writer else ():
                writer.add_scalar(f"validation/{name}", value, self.step)
        self.process_group.wait()

    def _judge(self, scores: Scores) -> None:
        if self.loop.select not in scores:
            raise UserError(f"loop.select: no score {self.loop.select!r}; there are {', '.join(scores)}")
        sign = -1.0 if self.loop.select.endswith("_km") else 1.0
        if sign * scores[self.loop.select] > self.best:
            self.best, self.stale = sign * scores[self.loop.select], 0
            self.run.save_weights(trained_tensors(self.task.model))
        else:
            self.stale += 1

    def _finish(self) -> Scores:
        """Put the best (or, never validated, the last averaged) weights into the model."""
        from retrieval.training.run_folder import WEIGHTS, read_weights

        if self.process_group.leads and not self.loop.validate_epochs:
            with self.average.in_place():
                self.run.save_weights(trained_tensors(self.task.model))
        self.process_group.wait()
        now = trained_tensors(self.task.model)
        for name, one in read_weights(self.run.folder / WEIGHTS).items():
            now[name].copy_(one)
        self.task.model.eval()
        if not self.process_group.leads:
            return {}
        with torch.no_grad():
            return self.task.validate()

    def _report(self, result: StepResult, norm: float, seconds: float, bar: Any, writer: Any) -> None:
        if not self.process_group.leads:
            return
        loss, speed = sum(result.terms.values()), result.photos / max(seconds, 1e-9)
        lr = self.optimiser.param_groups[0]["lr"]
        values = {"loss": loss, "lr": lr, "grad_norm": norm, "images_per_s": round(speed, 2)}
        self.run.log({"step": self.step, "photos": result.photos, **values, "terms": result.terms})
        for name, value in (*values.items(), *result.terms.items()) if writer else ():
            writer.add_scalar(f"train/{name}", value, self.step)
        bar.update(1)
        bar.set_postfix_str(f"loss {loss:.3f}, {speed:,.0f} images/s", refresh=False)

    def _keep(self) -> None:
        if self.process_group.leads:
            self.run.save_checkpoint(
                {
                    "recipe": self.recipe,
                    "step": self.step,
                    "best": self.best,
                    "stale": self.stale,
                    "model": trained_tensors(self.task.model),
                    "objective": self.task.objective.state_dict(),
                    "optimiser": self.optimiser.state_dict(),
                    "average": self.average.state(),
                    "task": self.task.state(),
                }
            )
        self.process_group.wait()

    def _resume(self) -> None:
        state = self.run.load_checkpoint(self.recipe)
        if self.process_group.leads:
            size = sum(one.numel() * one.element_size() for one in trained_tensors(self.task.model).values())
            self.run.check_space(2 * (4 * size) + 2 * size)
            self.run.forget_after(state["step"] if state else 0)
        if state is None:
            return
        now = trained_tensors(self.task.model)
        for name, one in state["model"].items():
            now[name].copy_(one)
        self.task.objective.load_state_dict(state["objective"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average.load(**state["average"])
        self.task.load_state(state["task"])
        self.step, self.best, self.stale = state["step"], state["best"], state["stale"]

    def _writer(self, stack: ExitStack) -> Any:
        if not (self.loop.tensorboard and self.process_group.leads):
            return None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(
                'loop.tensorboard: TensorBoard is not installed: pip install "geosleuth[train]", or set it to false'
            ) from error
        writer = SummaryWriter(str(self.run.folder / "tensorboard"), purge_step=self.step + 1)
        stack.callback(writer.close)
        return writer


def _groups(task: Task, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases, norms and temperatures do not."""
    trained = [one for module in (task.model, task.objective) for one in module.parameters() if one.requires_grad]
    matrices, others = [one for one in trained if one.dim() > 1], [one for one in trained if one.dim() <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
