"""Sessions of onnxruntime on the CPU, with the options that all graphs of this project run with."""

from __future__ import annotations

import onnxruntime


def cpu_session(content: bytes, threads: int) -> onnxruntime.InferenceSession:
    """A session that runs a graph on the CPU. content: what is in the graph's file.

    Raises onnxruntime's errors, which have no base of their own.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # A thread that spins while it waits takes a core from the sampling children.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The arena would keep the memory of the largest picture or clip for ever.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
