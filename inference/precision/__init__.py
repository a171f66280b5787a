"""From FP32 to FP16, BF16 and INT8: where eight bits go, and which range they cover."""
