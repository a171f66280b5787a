"""Jobs on a machine that other users share: what they could plant is not run, what is made they cannot read."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from running import Command

Start = Callable[..., Command]


@pytest.mark.parametrize(("place", "plant", "words"), [
    (".", None, "can be written by other users"),
    ("views", None, "can be written by other users"),
    ("views/*", "sitecustomize.py", "holds sitecustomize.py"),
    ("views/*/dlcompare", "__init__.py", "holds __init__.py"),
])
def test_what_others_could_plant_in_the_cache_is_not_run(start_slow: Start, tmp_path: Path, place: str,
                                                          plant: str | None, words: str) -> None:
    assert start_slow("--framework", "slow").wait() == 0
    (folder,) = (tmp_path / "cache").glob(place) if place != "." else [tmp_path / "cache"]
    if plant:
        (folder / plant).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    else:
        folder.chmod(0o777)
    command = start_slow("--framework", "slow")
    assert command.wait() == 2
    assert words in command.told and "Traceback" not in command.told
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("variables", "modes"), [({}, {0o700, 0o600}),
                                                  ({"DLCOMPARE_UMASK": "022"}, {0o755, 0o644})])
def test_files_of_a_run_are_for_the_users_eyes(start_slow: Start, variables: dict[str, str], modes: set[int]) -> None:
    command = start_slow("--framework", "several", "--workers", "2", **variables)
    assert command.wait() == 0
    made = [command.runs[0], *command.runs[0].rglob("*")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == modes
