"""Names of the files that inference leaves in a run and in the folders of its jobs."""

PREDICTIONS = "predictions.npz"  # of a job: outputs and labels, by output/NAME and label/NAME
CALIBRATION = "calibration.npz"  # of a job: histograms of activations
PREPARED = "prepared.json"  # of a run: whose network, on which data, how INT8 was made
MODELS = "models"  # of a run: folder of ONNX files
OLD = "inference.json"  # of a run of schema 1: everything
