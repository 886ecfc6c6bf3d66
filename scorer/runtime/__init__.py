"""Runs a model's exported graph by onnxruntime, without torch; `export` makes the graph, with torch."""
