"""What an inference run prepares: the network, its ONNX file in each precision, calibration, the search for a better
INT8. Nothing is timed here."""
