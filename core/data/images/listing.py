"""Which files of a folder are images of which class, in which order; and what else lies among them.

ImageNet's layout is PATH/train/CLASS/*.jpg and PATH/val/CLASS/*.jpg; without such folders, PATH/CLASS/*.jpg serves both
training and evaluation. Folders within a class folder belong to it, as for torchvision.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dlcompare.core.errors import UsageError

# The same whatever Pillow there is, for samples must not hang on it: what one cannot read is a damaged sample to it.
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx",
            ".bmp", ".gif", ".tif", ".tiff", ".tga", ".ppm", ".pgm", ".pbm", ".pnm")
TRAINING, EVALUATION = ("train", "training"), ("val", "valid", "validation", "test")


@dataclass(frozen=True)
class Listing:
    """The images of one split, class by class, as paths below the root; ``labels`` has each one's class number.

    ``classes`` is how many there are in training; ``passed_over`` counts the files that no image's suffix ends, by
    suffix; ``one_split``: the same images serve training and evaluation.
    """

    names: list[str]
    labels: list[int]
    classes: int
    passed_over: dict[str, int]
    one_split: bool
    root: Path = Path()

    def place(self, index: int) -> Any:
        """Return where an image is, as a loader process is told: the path of its file, or what ``formats`` has."""
        return os.fspath(self.root / self.names[index])

    def file(self, index: int) -> Path:
        """Return the file that holds an image."""
        return self.root / self.names[index]

    def without(self, names: Collection[str]) -> Listing:
        """Return the listing without some images; other splits' names are allowed."""
        skip = frozenset(names)
        return self.kept([row for row, name in enumerate(self.names) if name not in skip])

    def kept(self, rows: Sequence[int]) -> Listing:
        """Return the listing of some images alone."""
        return replace(self, names=[self.names[row] for row in rows], labels=[self.labels[row] for row in rows])


def listing(root: Path, *, train: bool) -> Listing:
    """Return the images of a split; UsageError if the folder is not as it must be."""
    folder = split_folder(root, train=train)
    numbers = {name: number for number, name in enumerate(class_names(split_folder(root, train=True)))}
    names, labels, others = list[str](), list[int](), Counter[str]()
    others.update(suffix(entry.name) for entry in entries(folder) if not entry.is_dir())
    for name in known_classes(folder, list(numbers)):
        images, passed_over = class_listing(folder / name)
        names += [f"{prefix(root, folder)}{name}/{image}" for image in images]
        labels += [numbers[name]] * len(images)
        others.update(passed_over)
    return Listing(names, labels, len(numbers), dict(sorted(others.items())), folder == root, root)


def class_listing(folder: Path) -> tuple[list[str], Counter[str]]:
    """Return a class folder's images, sorted, and how many other files it holds by suffix; UsageError without images.
    """
    images, others = list[str](), Counter[str]()
    for name, readable in files_below(folder):
        if readable and suffix(name) in SUFFIXES:
            images.append(name)
        else:
            others[suffix(name)] += 1
    if not images:
        there = f", only {counted(others)}" if others else ""
        raise UsageError(f"class folder {folder} holds no image{there}; images are files that end in "
                         f"{', '.join(SUFFIXES)}: fill the folder or remove it")
    return images, others


def files_below(folder: Path, above: tuple[tuple[int, int], ...] = ()) -> Iterator[tuple[str, bool]]:
    """Yield in sorted order each file in a folder or one within it, and whether it can be read: sockets cannot.

    Links are followed, but not back into a folder that leads there.
    """
    here = folder.stat()
    above = (*above, (here.st_dev, here.st_ino))
    for entry in sorted(entries(folder), key=lambda entry: entry.name):
        if not entry.is_dir():
            yield entry.name, entry.is_file() or entry.is_symlink()  # a link that leads nowhere is a damaged sample
        elif ((found := entry.stat()).st_dev, found.st_ino) not in above:
            yield from ((f"{entry.name}/{name}", well) for name, well in files_below(folder / entry.name, above))


def suffix(name: str) -> str:
    """Return what a file's name ends in, in lower case."""
    _, dot, ending = name.rpartition(".")
    return f"{dot}{ending}".lower() if dot else ""


def counted(by_suffix: dict[str, int]) -> str:
    """Return counts by suffix in words."""
    return ", ".join(f"{count} {ending or 'without a suffix'}" for ending, count in sorted(by_suffix.items()))


def prefix(root: Path, folder: Path) -> str:
    """Return what the paths of a split begin with, below the root."""
    return "" if folder == root else f"{folder.name}/"


def root_folder(argument: str) -> Path:
    """Return the folder that the argument names; UsageError if there is none."""
    if not argument:
        raise UsageError("dataset 'imagefolder' needs a folder; write --data imagefolder:PATH")
    root = Path(argument).expanduser()
    if not root.is_dir():
        raise UsageError(f"dataset 'imagefolder': there is no folder {root}; write --data imagefolder:PATH")
    return root


def splits(root: Path) -> dict[bool, Path]:
    """Return the folders of the training (True) and the evaluation split, those there are.

    Raises:
        UsageError: there are two of one name, such as train and Train.
    """
    found: dict[bool, Path] = {}
    for train, names in ((True, TRAINING), (False, EVALUATION)):
        there = [entry.name for name in names for entry in entries(root)
                 if entry.name.lower() == name and entry.is_dir()]
        if len({name.lower() for name in there[:2]}) < len(there[:2]):
            raise UsageError(f"{root} has both {there[0]!r} and {there[1]!r}; remove or rename one of them")
        if there:
            found[train] = root / there[0]
    return found


def split_folder(root: Path, *, train: bool) -> Path:
    """Return where a split's class folders are; UsageError if only the other split is there."""
    found = splits(root)
    if found and train not in found:
        wanted = "train" if train else "val"
        raise UsageError(f"{root} has a folder {found[not train].name!r} but no {wanted!r}; "
                         f"add {root / wanted}/CLASS/*.jpg, or name a folder that holds class folders directly")
    return found.get(train, root)


def class_names(folder: Path) -> list[str]:
    """Return the sorted names of the class folders; UsageError if there are none."""
    names = sorted(entry.name for entry in entries(folder) if entry.is_dir())
    if not names:
        raise UsageError(f"{folder} has no class folders; expected {folder}/CLASS/*.jpg")
    return names


def known_classes(folder: Path, names: list[str]) -> list[str]:
    """Return a split's class names; UsageError if one is not among ``names``, those of training."""
    found = class_names(folder)
    if strange := sorted(set(found) - set(names)):
        raise UsageError(f"class folder {folder / strange[0]} has no counterpart among the {len(names)} training "
                         "classes; remove it, or add training images of that class")
    return found


def entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield what a folder holds, hidden names left out; UsageError if it cannot be read."""
    try:
        with os.scandir(folder) as found:
            yield from (entry for entry in found if not entry.name.startswith("."))
    except OSError as error:
        raise UsageError(f"cannot read the folder {folder}: {error.strerror}; check its permissions") from error
