"""The two encoders that are defined here, and what InternVL's is spared when it only scores.

Every other one comes from transformers, by its configuration.
"""

from __future__ import annotations

import timm
import torch
from timm.models._efficientnet_blocks import DepthwiseSeparableConv
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from transformers import AutoModel, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.internvl.modeling_internvl import InternVLVisionEmbeddings

from scorer.model.configuration import LiteEncoderConfig, MotionEncoderConfig

CPU_IMAGES = 8
"""Images that go through the network at once on a CPU. With more, the activations leave its caches: 1.5 times the time."""

MOTION_ARGUMENTS = {"vjepa2": {"skip_predictor": True}}
"""Arguments of temporal encoders besides the clip, by model type: V-JEPA 2's predictor serves its pretraining only."""


class LiteEncoder(PreTrainedModel):
    """EfficientNet-Lite0, truncated: one token per image, of the spatial means and deviations of several depths.

    Quality shows in texture: means and deviations of shallow and middle features say more about it than the deep features
    that recognise objects. The batch norm at the end only standardises each number over the training data.
    """

    config_class = LiteEncoderConfig
    base_model_prefix = "lite"
    main_input_name = "pixel_values"

    def __init__(self, config: LiteEncoderConfig) -> None:
        super().__init__(config)
        network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        self.conv_stem = network.conv_stem
        self.bn1 = network.bn1
        self.blocks = network.blocks[: config.blocks]
        self.standardise = nn.BatchNorm1d(config.hidden_size, affine=False)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:  # noqa: ARG002
        # timm has initialised the network already; without this override transformers would do it again.
        return

    def forward(self, pixel_values: Tensor) -> BaseModelOutput:
        """Tokens (B, 1, hidden_size) of images (B, 3, S, S), values about -1..1."""
        few = CPU_IMAGES if pixel_values.device.type == "cpu" else len(pixel_values)
        pooled = torch.cat([self.begin(images, len(self.blocks))[1] for images in pixel_values.split(few)])
        return BaseModelOutput(last_hidden_state=self.standardise(pooled)[:, None])

    def fuse(self) -> None:
        """Fold the batch norms into their convolutions: the same outputs in two thirds of the time.

        Afterwards the encoder can be neither trained nor saved.
        """
        _fold(self, "conv_stem", "bn1")
        for stage in self.blocks:
            for block in stage:
                separable = isinstance(block, DepthwiseSeparableConv)
                order = ("conv_dw", "conv_pw") if separable else ("conv_pw", "conv_dw", "conv_pwl")
                for number, name in enumerate(order, start=1):
                    _fold(block, name, f"bn{number}")

    def begin(self, images: Tensor, blocks: int) -> tuple[Tensor, Tensor]:
        """What the stem and the first `blocks` blocks say of images (B, 3, S, S): their map (B, C, s, s), and the means and
        deviations so far (B, P); `finish` goes on from there."""
        x = self.bn1(self.conv_stem(images.contiguous(memory_format=torch.channels_last)))
        return self._through(x, [], range(blocks))

    def finish(self, x: Tensor, pooled: Tensor, blocks: int) -> Tensor:
        """Tokens (B, 1, hidden_size) from what `begin` said of images after that many blocks."""
        x = x.contiguous(memory_format=torch.channels_last)
        return self.standardise(self._through(x, [pooled], range(blocks, len(self.blocks)))[1])[:, None]

    def _through(self, x: Tensor, pooled: list[Tensor], blocks: range) -> tuple[Tensor, Tensor]:
        """The map after those blocks, and all means and deviations up to there."""
        for index in blocks:
            x = self.blocks[index](x)
            if index in self.config.pooled_blocks:
                deviation, mean = torch.std_mean(x, dim=(2, 3), correction=0)
                pooled = [*pooled, mean, deviation]
        return x, torch.cat(pooled, dim=1) if pooled else x.new_zeros(len(x), 0)


def keep_positions(embeddings: InternVLVisionEmbeddings, side: int) -> None:
    """Resize the position embeddings for images of side x side px once: the same outputs, without 2.4 ms of each pass on an H200.

    Afterwards the encoder takes images of this side only, and cannot be saved.
    """
    if embeddings.position_embeddings is None:
        return
    patches = (side // embeddings.patch_size[0]) ** 2
    shaped = embeddings.position_embeddings.new_empty(1, patches + 1, embeddings.position_embeddings.shape[2])
    resized = embeddings.interpolate_pos_encoding(shaped, side, side).detach()
    embeddings.position_embeddings = nn.Parameter(resized, requires_grad=False)


def _fold(block: nn.Module, convolution: str, norm: str) -> None:
    bn = getattr(block, norm)
    setattr(block, convolution, fuse_conv_bn_eval(getattr(block, convolution), bn))
    # A batch norm of timm includes the activation after it, which must stay.
    setattr(block, norm, bn.act)


class MotionEncoder(PreTrainedModel):
    """Change over time (freezes, dropped frames, flicker). One token per clip.

    Each pair of neighbouring frames (luma and its signed and absolute difference) goes through a few strided
    convolutions; the clip's token is the mean, deviation, minimum and maximum of their responses over time.
    """

    config_class = MotionEncoderConfig
    base_model_prefix = "motion"
    main_input_name = "pixel_values_videos"

    def __init__(self, config: MotionEncoderConfig) -> None:
        super().__init__(config)
        c = config.channels
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, c // 2, 5, stride=2, padding=2), nn.GELU(),
            nn.Conv2d(c // 2, c, 3, stride=2, padding=1), nn.GELU(),
            nn.Conv2d(c, c, 3, stride=2, padding=1), nn.GELU(),
        )  # fmt: skip
        self.over_time = nn.Conv1d(c, c, 3, padding=1)
        self.post_init()

    def forward(self, pixel_values_videos: Tensor) -> BaseModelOutput:
        """Tokens (B, 1, hidden_size) of clips (B, T, 3, S, S), values about -1..1."""
        batch, frames = pixel_values_videos.shape[:2]
        luma = pixel_values_videos.mean(dim=2)
        change = luma[:, 1:] - luma[:, :-1]
        # Compressed video changes by few levels; on a logarithmic scale they differ clearly from no change.
        pairs = torch.stack([luma[:, 1:], change, torch.log1p(100 * change.abs()) / 4], dim=2)
        features = self.convolutions(pairs.flatten(0, 1)).mean(dim=(2, 3)).view(batch, frames - 1, -1)
        features = features + torch.nn.functional.gelu(self.over_time(features.transpose(1, 2))).transpose(1, 2)
        amount = torch.log1p(100 * change.abs().mean(dim=(2, 3)))
        still = torch.stack([amount.mean(1), amount.amin(1)], dim=1)
        parts = [features.mean(1), features.std(1), features.amin(1), features.amax(1), still]
        if self.config.light:
            parts.append(_light(pixel_values_videos))
        return BaseModelOutput(last_hidden_state=torch.cat(parts, dim=1)[:, None])


def _light(videos: Tensor) -> Tensor:
    """(B, 10) how the light of clips (B, T, 3, S, S) moves, on a logarithmic scale.

    Of each colour's mean: deviation over time, mean and largest step. And how much rows get darker and lighter against the rest
    of their picture, as bands do. Luma differences cannot tell a change of colour, and hardly a slow change of light.
    """
    colour = videos.mean(dim=(3, 4))
    step = (colour[:, 1:] - colour[:, :-1]).abs()
    rows = videos.mean(dim=(2, 4))
    bands = (rows - rows.mean(dim=2, keepdim=True)).std(dim=1).mean(dim=1, keepdim=True)
    return torch.log1p(100 * torch.cat([colour.std(dim=1), step.mean(dim=1), step.amax(dim=1), bands], dim=1))


AutoModel.register(LiteEncoderConfig, LiteEncoder)
AutoModel.register(MotionEncoderConfig, MotionEncoder)
