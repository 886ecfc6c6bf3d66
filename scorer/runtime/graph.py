"""A model's graph, run by onnxruntime. No torch here.

The graph takes one clip. On a CPU batches save nothing: several clips at once leave its caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnxruntime

from scorer.answer import check_scorer, clip_scores, model_threads
from scorer.cpu_session import cpu_session
from scorer.errors import ModelError, lacks_memory
from scorer.spec import MODEL_INPUTS, ClipScore, ModelId, ModelInput, SamplerSpec, made_up_input

GRAPH_FILE = "model.onnx"
"""A model's graph, beside its weights."""

OUTPUTS = ("score", "uncertainty", "level_probs")

MAX_STATISTICS = 4096

EXTERNAL = b"\x0a\x08location"
"""How a tensor in a graph begins to name another file that holds its numbers (`StringStringEntryProto.key`)."""


class Graph:
    """A loaded graph; implements `scorer.load.LoadedModel`. Its methods may be called from any thread."""

    def __init__(self, session: onnxruntime.InferenceSession, spec: SamplerSpec, model: ModelId, statistics: int) -> None:
        self._session, self.spec, self.model, self.statistics = session, spec, model, statistics

    def check(self) -> None:
        """Score a test clip; raises `ModelError` where the model cannot, or a number of its answer is not finite."""
        check_scorer(self, self.statistics)

    def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
        """One score per clip, in order. Raises `ModelError` where a score is not finite, MemoryError where there is no memory."""
        answers = [self._run(clip) for clip in clips]
        return clip_scores(self.model, *map(list, zip(*answers, strict=True))) if answers else []

    def _run(self, clip: ModelInput) -> tuple[float, float, list[float]]:
        inputs = {name: getattr(clip, name)[None] for name in MODEL_INPUTS}
        try:
            score, uncertainty, probabilities = self._session.run(OUTPUTS, inputs)
        except Exception as error:  # onnxruntime's errors have no base of their own
            if lacks_memory(error):
                raise MemoryError(f"there is no memory for model {self.model} to score a clip: {error}") from error
            raise ModelError(f"model {self.model} cannot score a clip: {error}") from error
        return float(score[0]), float(uncertainty[0]), probabilities[0].tolist()


def load_graph(directory: Path, identity: ModelId) -> Graph:
    """The graph in a model's directory. Raises `ModelError` where it is none, or not one for the model's clips."""
    path = directory / GRAPH_FILE
    try:
        spec = SamplerSpec.load(directory)
        content = path.read_bytes()
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"model {directory}: {error}") from error
    if EXTERNAL in content:
        raise ModelError(f"model {directory}: {GRAPH_FILE} keeps numbers in another file: export it into one")
    try:
        session = cpu_session(content, model_threads())
        statistics = _checked_shapes(session, spec)
    except ModelError:
        raise
    except Exception as error:  # as above
        raise ModelError(f"model {directory}: {GRAPH_FILE} is no graph that can be run: {error}") from error
    return Graph(session, spec, identity, statistics)


def _checked_shapes(session: onnxruntime.InferenceSession, spec: SamplerSpec) -> int:
    """How many statistics the graph takes. Raises `ModelError` where its inputs or outputs are not those of the specification."""
    shapes = {node.name: tuple(node.shape) for node in session.get_inputs()}
    statistics = shapes.get("statistics", (1, 0))[-1]
    if not isinstance(statistics, int) or not 0 < statistics <= MAX_STATISTICS:
        raise ModelError(f"{GRAPH_FILE}: it takes no statistics of a known number")
    example = made_up_input(spec, statistics)
    wanted = {name: (1, *getattr(example, name).shape) for name in MODEL_INPUTS}
    if shapes != wanted:
        wrong = next(name for name in {**wanted, **shapes} if wanted.get(name) != shapes.get(name))
        raise ModelError(f"{GRAPH_FILE}: its input {wrong} is {shapes.get(wrong)}, and the sampler gives {wanted.get(wrong)}")
    outputs = [node.name for node in session.get_outputs()]
    if sorted(outputs) != sorted(OUTPUTS):
        raise ModelError(f"{GRAPH_FILE}: its outputs are {', '.join(map(repr, outputs))}, not {', '.join(OUTPUTS)}")
    return statistics
