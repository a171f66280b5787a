"""Inference: networks exported to ONNX, calibrated, quantised, measured and held against their own FP32.

``command`` is the way in; engines are plug-ins in folders of their own; see docs/inference.md.
"""
