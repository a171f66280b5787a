"""Packaging: folder X at the root is the package ``dlcompare.X``; ``dlcompare`` is a namespace, with a program."""

from setuptools import find_packages, setup

FOLDERS = ("core", "frameworks", "models", "inference")

setup(
    packages=["dlcompare"] + [f"dlcompare.{name}" for name in find_packages(".") if name.split(".")[0] in FOLDERS],
    package_dir={f"dlcompare.{folder}": folder for folder in FOLDERS},
    package_data={"": [f"**/*.{kind}" for kind in ("lock", "json", "csv", "npz", "md", "c")]},  # **: folders too
)
