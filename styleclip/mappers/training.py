"""Training mappers: K attributes together, sharing every pass that does not depend on the attribute (paper §5).

Per attribute: L = λ_CLIP·L_CLIP(ŵ) + λ_L2·mean((ŵ − w)²) + λ_ID·L_ID(ŵ, w), with ŵ = w + 0.1·M(w). Weights of one
attribute meet no number of another, so the attributes end as they would alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from styleclip.bundles.load import Bundle
from styleclip.errors import EditError
from styleclip.losses import clip_loss, identity_loss, mean_squared_distance
from styleclip.mappers.ranger import Ranger
from styleclip.networks.mapper import LatentMapper, MapperConfig

TERMS = ("loss", "clip_loss", "l2_loss", "identity_loss")


@dataclass(frozen=True)
class Attribute:
    """What one mapper learns. Defaults are the paper's.

    text: unit text embedding of the target [D]; direction: Δt [D]. relative: 0 aims at the words, as the paper does;
    above 0 (ours) the aim of an image is its own unit embedding plus `relative`·Δt, because the words alone also say,
    to CLIP, that everything they do not mention is absent.
    """

    name: str
    text: Tensor
    direction: Tensor
    lambda_clip: float = 1.0
    lambda_l2: float = 0.8
    lambda_id: float = 0.1
    relative: float = 0.0


@dataclass(frozen=True)
class TrainingSettings:
    """How a group of attributes is trained; see flows.forms.runs.TrainMappersParams for the meanings."""

    steps: int = 50_000
    batch: int = 2
    optimizer: Literal["ranger", "adam"] = "ranger"
    learning_rate: float = 0.5
    decay: bool = False
    seed: int = 0
    microbatch: int = 16


class MapperTraining:
    """K mappers in training; everything that goes on is in `state_dict`.

    `codes(step)` must give the latent codes w [B, num_ws, w_dim] of a step, as a function of the step alone:
    so a run that was stopped sees the same data when it goes on.
    """

    def __init__(
        self,
        models: Bundle,
        config: MapperConfig,
        attributes: Sequence[Attribute],
        settings: TrainingSettings,
    ) -> None:
        """Raises EditError for λ_ID > 0 where the bundle has no identity network."""
        weighed = [attribute.name for attribute in attributes if attribute.lambda_id > 0]
        if weighed and models.identity is None:
            raise EditError(
                f"mapper '{weighed[0]}' weighs identity (lambda_id), but bundle '{models.name}' names no identity "
                "network: add one to its file, or set lambda_id to 0"
            )
        self.models, self.config, self.settings = models, config, settings
        self.attributes = tuple(attributes)
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False):
            # From the seed alone: an attribute starts the same whoever is trained beside it.
            torch.manual_seed(settings.seed)
            first = LatentMapper(config)
            self.mappers = LatentMapper(config, len(self.attributes))
            for index in range(len(self.attributes)):
                self.mappers.load_one(index, first.state_dict())
            self.mappers.to(models.device)
        self.optimizer = self._optimizer()
        self.step = 0
        self.microbatch = settings.microbatch
        self.stopped: dict[str, str] = {}
        self.best = {attribute.name: math.inf for attribute in self.attributes}
        self.best_state = [self._state_of(index) for index in range(len(self.attributes))]

    def _optimizer(self) -> torch.optim.Optimizer:
        named = dict(self.mappers.named_parameters())
        weights = [value for name, value in named.items() if name.endswith("weight")]
        biases = [value for name, value in named.items() if name.endswith("bias")]
        if self.settings.optimizer == "adam":
            return torch.optim.Adam([*weights, *biases], lr=self.settings.learning_rate)
        return Ranger(
            [{"params": weights}, {"params": biases, "centralize": False}], lr=self.settings.learning_rate
        )

    def _state_of(self, index: int) -> dict[str, Tensor]:
        return {name: value[index : index + 1].clone() for name, value in self.mappers.state_dict().items()}

    @torch.enable_grad()
    def take_step(self, w: Tensor) -> dict[str, Tensor]:
        """One step on codes w [B, num_ws, w_dim]; the terms of the loss, each [K], means over the batch.

        Pictures are made `microbatch` at a time; memory that does not suffice is the caller's to notice (it lowers
        `microbatch` and calls again: nothing has moved until a step is complete).
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * self._rate()
        self.optimizer.zero_grad(set_to_none=True)
        w = w.clone()
        with torch.no_grad():
            sources = self._sources(w)
        code = self.code_of(w)
        moved = code + self.mappers.steps(code)
        terms, gradient = self._losses(moved.detach(), code, sources)
        moved.backward(gradient)
        gradients = [each.grad for each in self.mappers.parameters() if each.grad is not None]
        lost = ~terms["loss"].isfinite()
        for each in gradients:
            lost |= ~each.flatten(1).isfinite().all(dim=1)
        for index in torch.nonzero(lost)[:, 0].tolist():
            self._stop(index)
        # A lost attribute must not become a lost optimizer: its gradients are zero from here on.
        stopped = self._stopped_indices()
        for each in gradients:
            each[stopped] = 0
        self.optimizer.step()
        self.step += 1
        return terms

    def _rate(self) -> float:
        if not self.settings.decay:
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * self.step / self.settings.steps))

    def _stopped_indices(self) -> list[int]:
        return [i for i, attribute in enumerate(self.attributes) if attribute.name in self.stopped]

    def _stop(self, index: int) -> None:
        name = self.attributes[index].name
        self.stopped.setdefault(
            name,
            f"the loss of '{name}' or its gradient ceased to be a number at step {self.step + 1}; its best state is "
            "kept; a smaller learning_rate may help",
        )

    def code_of(self, w: Tensor) -> Tensor:
        """What the mappers read: w itself, or the style channels of the convolutions."""
        if self.config.space != "s":
            return w
        return self.models.generator.styles(w)[:, self.models.generator.layout.conv.to(w.device)]

    def styles_of(self, moved: Tensor, w: Tensor) -> Tensor:
        """Style vectors [n, C_total] of moved codes [n, …] whose sources are w [n, num_ws, w_dim]."""
        generator = self.models.generator
        if self.config.space != "s":
            return generator.styles(moved)
        return generator.styles(w).index_copy(1, generator.layout.conv.to(w.device), moved)

    def _synthesize(self, styles: Tensor) -> Tensor:
        return self.models.generator.synthesize(styles)

    def _sources(self, w: Tensor) -> dict[str, Tensor]:
        """What all attributes share: w, and what is seen in the source images where a loss needs it."""
        sources = {"w": w}
        relative = any(attribute.relative for attribute in self.attributes)
        identity = any(attribute.lambda_id for attribute in self.attributes)
        if not (relative or identity):
            return sources
        images = [self._synthesize(self.models.generator.styles(part)) for part in w.split(self.microbatch)]
        if identity:
            assert self.models.identity is not None
            sources["identity"] = torch.cat([self.models.identity(part) for part in images])
        if relative:
            seen = torch.cat([self.models.clip.encode_image(part) for part in images])
            sources["seen"] = F.normalize(seen, dim=1)
        return sources

    def _aims(self, sources: dict[str, Tensor]) -> Tensor:
        """Unit aims [K, B, D]."""
        count = len(sources["w"])
        aims = []
        for attribute in self.attributes:
            if attribute.relative:
                aims.append(F.normalize(sources["seen"] + attribute.relative * attribute.direction, dim=1))
            else:
                aims.append(attribute.text.expand(count, -1))
        return torch.stack(aims)

    def _losses(
        self, moved: Tensor, code: Tensor, sources: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The terms [K] at moved codes [K, B, …], and where gradients are enabled that of Σ_k mean_b L by them."""
        count, batch = moved.shape[:2]
        device = moved.device
        aims = self._aims(sources).flatten(0, 1)
        weights = torch.tensor(
            [[a.lambda_clip, a.lambda_l2, a.lambda_id] for a in self.attributes], device=device
        ).repeat_interleave(batch, dim=0)
        totals = {name: torch.zeros(count * batch, device=device) for name in TERMS}
        use_identity = "identity" in sources
        flat, gradient = moved.flatten(0, 1), torch.zeros_like(moved.flatten(0, 1))
        place = torch.arange(count * batch, device=device)
        for rows in place.split(self.microbatch):
            source = rows % batch
            part = flat[rows].requires_grad_()
            images = self._synthesize(self.styles_of(part, sources["w"][source]))
            losses = {
                "clip_loss": clip_loss(self.models.clip, images, aims[rows]),
                "l2_loss": mean_squared_distance(part, code[source]),
            }
            loss = weights[rows, 0] * losses["clip_loss"] + weights[rows, 1] * losses["l2_loss"]
            if use_identity:
                assert self.models.identity is not None
                losses["identity_loss"] = identity_loss(
                    self.models.identity, sources["identity"][source], images
                )
                loss = loss + weights[rows, 2] * losses["identity_loss"]
            if torch.is_grad_enabled():
                (gradient[rows],) = torch.autograd.grad(loss.sum() / batch, part)
            for name, values in (losses | {"loss": loss}).items():
                totals[name][rows] = values.detach()
        terms = {name: values.view(count, batch).mean(dim=1) for name, values in totals.items()}
        return terms, gradient.view_as(moved)

    @torch.no_grad()
    def validate(self, w: Tensor) -> dict[str, Tensor]:
        """The terms on held-out codes, each [K]; remembers the weights of attributes that got better."""
        sources, code = self._sources(w), self.code_of(w)
        terms, _ = self._losses(code + self.mappers.steps(code), code, sources)
        for index, attribute in enumerate(self.attributes):
            value = float(terms["loss"][index])
            if attribute.name not in self.stopped and value < self.best[attribute.name]:
                self.best[attribute.name] = value
                self.best_state[index] = self._state_of(index)
        return terms

    def best_mapper(self, index: int) -> LatentMapper:
        """The mapper of an attribute as it was when it did best on held-out codes."""
        mapper = LatentMapper(self.config)
        mapper.load_state_dict(self.best_state[index])
        return mapper.eval().requires_grad_(False)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on: tensors, numbers and texts only."""
        return {
            "mappers": self.mappers.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "microbatch": self.microbatch,
            "stopped": dict(self.stopped),
            "best": dict(self.best),
            "best_state": self.best_state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state of `state_dict`."""
        self.mappers.load_state_dict(state["mappers"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.microbatch = state["step"], state["microbatch"]
        self.stopped, self.best, self.best_state = state["stopped"], state["best"], state["best_state"]
