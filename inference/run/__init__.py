"""What an inference run prepares and tries: ONNX files in each precision, the search for a better INT8."""
