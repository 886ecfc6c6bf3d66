"""Both stages of one adapter: which parameters train, by which losses, and how the result scores clips.

Stage I trains the projectors by cross entropy of the text answer. Stage II trains LoRA and the head by L1 of the score.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from scorer.model.adapters import AdaptedRater, is_adapter_weight, keep_norms, network_of, train_only, trained_copy
from scorer.model.modeling import LEAST_UNCERTAINTY, SPREAD_UNIT, RaterOutput
from scorer.spec import LEVEL_WIDTH
from training.adapter.clips import EncodedClips, on_device
from training.adapter.loop import Checkpoint, Curve, Order, Stage, run_stage
from training.data.progress import Progress
from training.data.rated import REPLAY
from training.losses import laplace_spread, level_of
from training.recipe import TuneRecipe


class Trainer:
    """Trains an adapter and scores with it.

    tuned: the base with its adapter attached. clips: all splits. checkpoint_file: where the run's checkpoints are written.
    key: identifies recipe, data and base; it is stored in every checkpoint, so that another run cannot take it up.
    """

    def __init__(
        self,
        recipe: TuneRecipe,
        accelerator: Accelerator,
        tuned: AdaptedRater,
        clips: EncodedClips,
        checkpoint_file: Path,
        key: str,
    ) -> None:
        self.recipe, self.accelerator, self.tuned, self.clips = recipe, accelerator, tuned, clips
        self._checkpoint_file, self._key = checkpoint_file, key
        self._labels = torch.tensor([row.mos for row in clips.rows], dtype=torch.float32)
        if recipe.gradient_checkpointing:
            network = network_of(tuned)
            for tower in (network.vision_model, network.language_model):
                tower.gradient_checkpointing_enable({"use_reentrant": False})

    def run(self, curve: Curve, checkpoint: Checkpoint | None) -> None:
        """Train both stages on the split `train` and the recipe's share of replayed clips, from the checkpoint on if given."""
        training, replayed = self.clips.places("train"), self.clips.places(REPLAY)
        # `Order` counts the training clips first, then the replayed ones.
        places_of = np.concatenate([training, replayed])
        if checkpoint:
            self.tuned.load_state_dict(checkpoint.weights, strict=False)
        if self.accelerator.is_main_process:
            curve.cut(checkpoint.stage if checkpoint else 0, checkpoint.step if checkpoint else 0)
        stages = ((1, self.recipe.stage1, self.text_loss, "projectors"), (2, self.recipe.stage2, self.score_loss, "head"))
        for number, part, loss, whole in stages:
            if checkpoint and checkpoint.stage > number:
                continue
            order = Order(len(training), self.recipe.seed, len(replayed), self.recipe.replay_share)
            stage = Stage(number, part, order, self.recipe.clips_per_device, self.recipe.checkpoint_steps)
            train_only(self.tuned, [whole], lora=number == 2)
            self.tuned.train()
            keep_norms(self.tuned)
            run_stage(
                self.accelerator,
                self.tuned,
                stage,
                lambda model, places, loss=loss: loss(model, places_of[places]),  # type: ignore[misc]
                curve,
                checkpoint if checkpoint and checkpoint.stage == number else None,
                lambda step, optimizer, number=number: self._keep(number, step, optimizer),  # type: ignore[misc]
            )

    def text_loss(self, model: nn.Module, places: NDArray[np.int64]) -> Tensor:
        """Stage I: cross entropy of the text answer."""
        loss = self._output(model, places, {"frames", "portrait", "faces", "motion"}).answer_loss
        assert loss is not None
        return loss

    def score_loss(self, model: nn.Module, places: NDArray[np.int64]) -> Tensor:
        """Stage II: L1 of the score in levels, and the weighted losses of the text answer and of the uncertainty."""
        output = self._output(model, places, self._always_frozen())
        assert output.answer_loss is not None
        labels = self._labels[places].to(output.score.device)
        loss = functional.l1_loss(output.score, labels) / LEVEL_WIDTH
        spread = laplace_spread(output.uncertainty, (output.score - labels).abs().detach())
        return loss + self.recipe.text_weight * output.answer_loss + self.recipe.uncertainty_weight * spread

    @torch.inference_mode()
    def scores(self, places: NDArray[np.int64]) -> tuple[list[float], list[float], list[int]]:
        """(scores, uncertainties, likeliest levels) of the clips at those places, by the model as it is now."""
        self.tuned.eval()
        scores: list[float] = []
        uncertainties: list[float] = []
        levels: list[int] = []
        starts = range(0, len(places), self.recipe.clips_per_device)
        for start in Progress(starts, "scoring", shows=self.accelerator.is_main_process):
            with self.accelerator.autocast():
                output = self._output(self.tuned, places[start : start + self.recipe.clips_per_device], self._always_frozen())
            scores.extend(output.score.tolist())
            uncertainties.extend(output.uncertainty.tolist())
            levels.extend(output.level_logits.argmax(dim=1).tolist())
        return scores, uncertainties, levels

    def calibrate(self, places: NDArray[np.int64]) -> None:
        """Shift the uncertainty so that its mean over these clips is their mean absolute error; its order stays the same.

        Needed because the uncertainty was trained on errors on training clips, which are too small.
        """
        scores, uncertainties, _ = self.scores(places)
        error = float((torch.tensor(scores) - self._labels[places]).abs().mean())
        softplus = (torch.tensor(uncertainties, dtype=torch.float64) - LEAST_UNCERTAINTY) / SPREAD_UNIT
        spread = softplus.clamp(min=1e-6).expm1().log()
        low, high = -20.0, 20.0
        while high - low > 1e-3:
            shift = (low + high) / 2
            mean = float((SPREAD_UNIT * functional.softplus(spread + shift) + LEAST_UNCERTAINTY).mean())
            low, high = (shift, high) if mean < error else (low, shift)
        last = trained_copy(network_of(self.tuned).head[-1])
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.bias[1] += (low + high) / 2

    def _always_frozen(self) -> set[str]:
        return {"motion"} | ({"faces"} if network_of(self.tuned).face_model is not None else set())

    def _output(self, model: nn.Module, places: NDArray[np.int64], taken: set[str]) -> RaterOutput:
        """The model's output for the clips at places (B,). taken: streams that are not encoded again where they are known."""
        device = self.accelerator.device
        levels = level_of(self._labels[places]).to(device)
        known = {name: tensor[places].to(device) for name, tensor in self.clips.known.items() if name in taken}
        output: RaterOutput = model(on_device(self.clips.samples.batch(places), device), levels, known)
        return output

    def _keep(self, stage: int, step: int, optimizer: dict[str, Any]) -> None:
        weights = {name: tensor for name, tensor in self.tuned.state_dict().items() if is_adapter_weight(name)}
        Checkpoint(stage, step, weights, optimizer, self._key).save(self._checkpoint_file)
