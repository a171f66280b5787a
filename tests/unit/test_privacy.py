"""Who else may read what is made, and where nobody else may be able to write."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from dlcompare.core.errors import UsageError
from dlcompare.core.files import cache_root
from dlcompare.core.privacy import check_private, close_files, remedy, why_open

STRANGER = 65534


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "on" / "the" / "way").mkdir(parents=True)
    return tmp_path / "on" / "the" / "way"


def test_what_the_user_alone_can_write_is_well_and_so_is_what_is_not_there(folder: Path) -> None:
    assert check_private(folder) == folder
    assert check_private(folder / "to" / "be") == folder / "to" / "be"


@pytest.mark.parametrize("above", [0, 1, 2])
@pytest.mark.parametrize("mode", [0o775, 0o777, 0o757])
def test_a_folder_that_others_can_write_is_refused_with_the_remedy(folder: Path, above: int, mode: int) -> None:
    place = [folder, *folder.parents][above]
    place.chmod(mode)
    with pytest.raises(UsageError, match=rf"{place}.* can be written by other users \(mode {mode:o}\).*"
                                         rf"chmod (-R )?go-w {place}.*DLCOMPARE_CACHE"):
        check_private(folder)
    place.chmod(mode & ~0o022)
    check_private(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder away")
@pytest.mark.parametrize(("members", "closed"), [((), False), (("alice",), False), (("alice", "eve"), True)])
def test_the_group_of_the_user_alone_may_write(folder: Path, monkeypatch: pytest.MonkeyPatch, members: tuple[str, ...],
                                               closed: bool) -> None:
    os.chown(folder, STRANGER, STRANGER)
    folder.chmod(0o775)
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    monkeypatch.setattr("pwd.getpwuid", lambda number: SimpleNamespace(pw_name="alice"))
    monkeypatch.setattr("grp.getgrgid", lambda number: SimpleNamespace(gr_mem=list(members)))
    assert (why_open(folder, sticky=False) is not None) == closed


def test_the_remedy_can_be_pasted_whatever_the_folder_is_called() -> None:
    place = Path("/x/my cache")
    assert remedy(place, below=True) == """chown -R "$(id -u)" '/x/my cache'; chmod -R go-w '/x/my cache'"""
    assert remedy(place, below=False).startswith('chown "$(id -u)"')


@pytest.mark.skipif(subprocess.run(["unshare", "-U", "--map-user=1234", "true"], check=False).returncode != 0,
                    reason="needs a kernel that lets this user make user namespaces (unshare -U)")
def test_a_container_that_knows_no_root_is_no_reason() -> None:
    code = "from pathlib import Path; from dlcompare.core.privacy import check_private; check_private(Path('/none/x'))"
    subprocess.run(["unshare", "-U", "--map-user=1234", sys.executable, "-c", code], check=True)


def test_a_sticky_folder_is_well_on_the_way_and_not_at_its_end(folder: Path) -> None:
    folder.parent.chmod(0o1777)
    check_private(folder)
    folder.chmod(0o1777)
    with pytest.raises(UsageError, match="mode 1777"):
        check_private(folder)


def test_a_link_is_no_way_round(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "short").symlink_to(folder)
    check_private(tmp_path / "short")
    folder.parent.chmod(0o777)
    with pytest.raises(UsageError, match="mode 777"):
        check_private(tmp_path / "short")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder away")
@pytest.mark.parametrize("above", [0, 1])
def test_a_folder_of_another_user_is_refused(folder: Path, above: int) -> None:
    os.chown([folder, *folder.parents][above], STRANGER, STRANGER)
    with pytest.raises(UsageError, match="belongs to another user"):
        check_private(folder)


def test_the_cache_folder_is_looked_at_whenever_it_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCOMPARE_CACHE", str(folder))
    assert cache_root() == folder
    folder.chmod(0o777)
    with pytest.raises(UsageError):
        cache_root()


@pytest.mark.parametrize(("umask", "mode"), [(None, 0o600), ("022", 0o644), ("000", 0o666)])
def test_files_of_this_program_and_its_children(folder: Path, monkeypatch: pytest.MonkeyPatch, umask: str | None,
                                                mode: int) -> None:
    monkeypatch.delenv("DLCOMPARE_UMASK", raising=False)
    if umask:
        monkeypatch.setenv("DLCOMPARE_UMASK", umask)
    close_files()
    subprocess.run(["touch", folder / "file"], check=True)
    assert stat.S_IMODE((folder / "file").stat().st_mode) == mode


@pytest.mark.parametrize("text", ["rw", "888", "-1", "777", ""])
def test_an_umask_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("DLCOMPARE_UMASK", text)
    with pytest.raises(UsageError, match="octal number such as 077"):
        close_files()
