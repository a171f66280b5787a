"""Networks as ONNX files: written from the neutral graph, read from a user's, and their wiring."""
