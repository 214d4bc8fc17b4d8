"""Pretrain a UnifiedEncoder: guess what is hidden, and match recordings made at once."""

from dataclasses import dataclass

import torch
from torch import Tensor

from brainfm.errors import ContractError
from brainfm.models.across import across_losses
from brainfm.models.code_guessing import CodeGuesser
from brainfm.models.guessing import Hidden, other_losses, pass_hidden, signal_losses
from brainfm.models.hiding import HidingConfig
from brainfm.models.teacher import Teacher
from brainfm.models.unified import UnifiedEncoder
from brainfm.signals.preprocess import Preprocess, require_same
from brainfm.tasks.base import BrainTask
from brainfm.tasks.masked_codes import load_codec
from brainfm.training.optim import AdamWSettings
from brainfm.types import Kind, SignalBatch, Simultaneous


@dataclass(frozen=True)
class StreamWeights:
    """How much each objective counts; 0 leaves it out."""

    signal: float = 1.0
    """Hidden signal, in time and frequency."""
    codes: float = 0.0
    """Codes that a frozen codec gives to the whole window; wants `tokenizer`."""
    latent: float = 0.0
    """What a slow copy that sees everything makes of it (`models.teacher`)."""
    other: float = 0.0
    """What recordings of other kinds, made at once, showed. With `data.simultaneous` only."""
    match: float = 0.3
    """Recordings made at once find each other. With `data.simultaneous` only."""
    lag: float = 0.3
    """BOLD from electrophysiology before it. With `data.simultaneous` only."""


CODED = ("eeg", "mag", "grad")
"""Kinds that a BrainTokenizer reads."""


class MaskedStream(BrainTask):
    """Squared error of hidden signal; with recordings made at once, what they tell of one another.

    Parameters
    ----------
    encoder : UnifiedEncoder
    hiding : HidingConfig
    weights : StreamWeights
    most_sensors : of a recording that a training step sees, drawn anew each time; None: all
    tokenizer : folder of a trained BrainTokenizer, for the weight `codes`; EEG and MEG have codes,
        other kinds go without
    lr, warmup_steps, decay_steps, lr_floor, betas, eps, weight_decay : of AdamW; ours
    seed : linked to `seed_everything`
    """

    def __init__(
        self,
        encoder: UnifiedEncoder,
        hiding: HidingConfig = HidingConfig(),  # noqa: B008 (frozen)
        weights: StreamWeights = StreamWeights(),
        most_sensors: int | None = 64,
        tokenizer: str | None = None,
        lr: float = 1e-3,
        warmup_steps: int = 100,
        decay_steps: int = 2000,
        lr_floor: float = 0.05,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-8,
        weight_decay: float = 0.02,
        seed: int = 0,
    ) -> None:
        settings = AdamWSettings(
            lr=lr,
            weight_decay=weight_decay,
            betas=betas,
            eps=eps,
            warmup_steps=warmup_steps,
            decay_steps=decay_steps,
            lr_floor=lr_floor,
        )
        super().__init__(encoder, settings, seed)
        self.hiding, self.weights, self.most_sensors = hiding, weights, most_sensors
        if bool(weights.codes) != (tokenizer is not None):
            raise ContractError(
                f"model.weights.codes is {weights.codes:g} and tokenizer is {tokenizer!r}; masked "
                "codes want both, a run without them neither"
            )
        self.codec = load_codec(tokenizer) if tokenizer is not None else None
        self.code_guesser = None
        if self.codec is not None:
            self.codec.requires_grad_(False).eval()
            self.code_guesser = CodeGuesser(encoder.dim, encoder.config.n_heads, self.codec)
        self.teacher = Teacher(encoder) if weights.latent else None

    def losses(self, batch: SignalBatch | Simultaneous) -> dict[str, Tensor]:
        if not isinstance(batch, Simultaneous):
            parts, _ = self._alone(self._some_sensors(batch))
        else:
            batch = Simultaneous(tuple(self._some_sensors(b) for b in batch.batches))
            each, seen = zip(*(self._alone(b) for b in batch.batches), strict=True)
            parts = {k: v for one in each for k, v in one.items()}
            for name in ("signal", "codes", "latent"):
                if name in parts:
                    parts[name] = torch.stack([one[name] for one in each if name in one]).mean()
            if self.weights.other:
                parts |= other_losses(self.model, batch.batches, seen)
            wanted = [name for name in ("match", "lag") if getattr(self.weights, name)]
            parts |= across_losses(self.model, batch, wanted)
        weights = {k: w for k, w in vars(self.weights).items() if w and k in parts}
        if not weights:
            raise ContractError(
                "model.weights leaves no objective for these batches; give signal or latent a "
                "weight, or set data.simultaneous for match and lag"
            )
        loss = torch.stack([w * parts[k] for k, w in weights.items()]).sum()
        if self._is_trained_by_many():
            # Ranks draw recordings of different kinds, and wait for one another's gradients: every
            # weight is part of every step, with nothing where the kind does not use it.
            loss = loss + sum(0.0 * p.sum() for p in self.parameters() if p.requires_grad)
        return {**parts, "loss": loss}

    def adopt(self, preprocess: Preprocess) -> None:
        if self.codec is not None:
            require_same(
                self.codec.preprocess, preprocess, my_name="the codec", their_name="the data"
            )
        super().adopt(preprocess)

    def on_fit_start(self) -> None:
        super().on_fit_start()
        if self.teacher is not None:
            self.teacher.meet(self.model)

    def on_train_batch_end(self, *_: object) -> None:
        if self.teacher is not None:
            self.teacher.follow(self.model)

    def _is_trained_by_many(self) -> bool:
        return self._trainer is not None and self.training and self.trainer.world_size > 1

    def _some_sensors(self, batch: SignalBatch) -> SignalBatch:
        """A batch without sensors beyond `most_sensors`, while training.

        It keeps steps cheap, and no montage is seen twice.
        """
        if not self.training or self.most_sensors is None or batch.n_channels <= self.most_sensors:
            return batch
        drawn = torch.randperm(batch.n_channels)[: self.most_sensors]
        return batch.take(drawn.to(batch.x_BCWP.device))

    def _alone(self, batch: SignalBatch) -> tuple[dict[str, Tensor], Hidden]:
        """Losses that need one recording, and the pass they come from."""
        seen = pass_hidden(self.model, batch, self.hiding)
        parts = signal_losses(self.model, batch, seen)
        kind = Kind(int(batch.kind_BC[0, 0])).name.lower()
        found = {"signal": parts["loss"], f"explained_{kind}": parts["explained"]}
        if self.teacher is not None:
            found |= self.teacher.losses(batch, seen.h_BGSD)
        if self.codec is not None and self.code_guesser is not None and kind in CODED:
            with torch.no_grad():
                codes = self.codec.encode(batch)
            step_s = batch.seconds / seen.h_BGSD.shape[1]
            found |= self.code_guesser.losses(seen.h_BGSD, codes, step_s)
        return found, seen
