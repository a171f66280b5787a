"""How images are cut and normalised, as torchvision's reference recipe does it: the numbers, for whoever does it."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's by channel, of pixels from 0 to 1
AREA = (0.08, 1.0)  # share of the image that a training crop covers
RATIO = (3 / 4, 4 / 3)  # width over height of a training crop
TRIES = 10
CROP = 224 / 256  # of the shorter side, that the evaluation view is
