"""Records do not tell where the user's home is, and are read as well as before."""

from pathlib import Path

import pytest
from fabricated import failed, finished, job

from dlcompare.core.records.homeless import homeless
from dlcompare.core.run.stored import read


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/alice")


def test_the_home_folder_is_a_tilde_wherever_it_stands() -> None:
    made = failed(job(weights="/home/alice/w.pt", data="imagefolder:/home/alice/my pictures"),
                  "cannot read /home/alice: no (/home/alice/x)", log="/home/alice/runs/log.txt")
    kept = homeless(made)
    assert (kept.log, kept.reason) == ("~/runs/log.txt", "cannot read ~: no (~/x)")
    assert kept.job["weights"] == "~/w.pt" and kept.job["data"] == "imagefolder:~/my pictures"
    assert "alice" not in kept.to_json() and "--weights ~/w.pt" in kept.reproduce
    assert homeless(kept) == kept and kept.id == made.id


@pytest.mark.parametrize("other", ["/home/alice2/x", "/home/alice.old/x", "/mnt/home/alice/x"])
def test_what_only_begins_or_ends_like_it_stays(other: str) -> None:
    assert homeless(failed(job(), f"cannot read {other}")).reason == f"cannot read {other}"


def test_a_record_without_it_is_the_same_and_so_is_one_of_a_user_at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    made = finished(job())
    assert homeless(made) is made
    monkeypatch.setenv("HOME", "/")
    assert Path.home() == Path("/") and homeless(made) is made


def test_files_of_the_run_are_told_from_its_folder(tmp_path: Path) -> None:
    made = failed(job(), "all threads are in /home/alice/runs/r1/jax-w2/stacks.txt", run="r1",
                  log="/home/alice/runs/r1/jax-w2/log.txt")
    kept = homeless(made)
    assert kept.log == made.log  # for whoever is at the terminal
    told = kept.to_dict()
    assert (told["log"], told["reason"]) == ("jax-w2/log.txt", "all threads are in jax-w2/stacks.txt")
    (tmp_path / "moved" / "jax-w2").mkdir(parents=True)
    (log := tmp_path / "moved" / "jax-w2" / "log.txt").touch()
    (tmp_path / "moved" / "records.json").write_text(f"[{kept.to_json()}]")
    (again,) = read(tmp_path / "moved")
    assert again.log == str(log)


def test_a_user_without_a_home_has_records_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    assert homeless(made := finished(job())) is made
