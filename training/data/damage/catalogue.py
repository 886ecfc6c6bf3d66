"""All ladders of damage, by name.

Beauty filters and colour casts are not among them: they are taste, which only people's ratings can judge.
"""

from __future__ import annotations

from training.data.damage.conversion import conversion_ladders
from training.data.damage.corruption import corruption_ladders
from training.data.damage.encoder import encoder_ladders
from training.data.damage.first import first_ladders
from training.data.damage.ladder import Ladder
from training.data.damage.lens import lens_ladders
from training.data.damage.light import light_ladders
from training.data.damage.network import network_ladders

LADDERS: dict[str, Ladder] = {
    ladder.name: ladder
    for ladders in (
        first_ladders,
        lens_ladders,
        light_ladders,
        conversion_ladders,
        encoder_ladders,
        network_ladders,
        corruption_ladders,
    )
    for ladder in ladders()
}
"""Name -> ladder. The names are the kinds of labels.csv."""

VMAF_TRUSTED = frozenset(
    {"x264", "x265", "vp9", "av1", "mpeg2", "mpeg4", "scale", "blur", "scale+x264", "blur+x264"}
    | {"upscaling", "pixelation", "autofocus-hunting"}
    | {"restream-twice", "restream-thrice", "hardware-blocking", "bitrate-oscillation"}
)
"""Kinds on which VMAF can be trusted: it was made for compression and scaling (Li et al., Netflix, 2016), and sees blur. Other
kinds are labelled with VMAF only because no better label is at hand."""
