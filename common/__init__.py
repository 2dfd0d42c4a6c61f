import os

# ONNX Runtime's wheels report their use to their maker, from a thread of their own that starts with the import
# (onnxruntime/Privacy.md). Nothing here tells anybody outside anything, and the jail forks from a single thread.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
