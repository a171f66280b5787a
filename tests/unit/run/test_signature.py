"""Records that somebody signed say whose they are, and that they are not what was signed once they are altered."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from fabricated import finished, job

from dlcompare.core.cli.main import program
from dlcompare.core.errors import UsageError
from dlcompare.core.run import signature

needs_ssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="signing is ssh-keygen's: openssh-client")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "records.json").write_text(json.dumps([finished(job()).to_dict()]))
    return tmp_path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", tmp_path / "key"], check=True)
    return tmp_path / "key"


def dlcompare(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    program()([str(word) for word in words], standalone_mode=False)
    return capsys.readouterr().out


@needs_ssh
def test_who_signed_is_said_in_the_first_line(run: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "signed" not in dlcompare(capsys, "report", run), "what is not signed is not talked about"
    assert dlcompare(capsys, "sign", run, "--key", key) == f"signed: {run}/records.json.sig\n"
    first = dlcompare(capsys, "report", run).splitlines()[0]
    assert first.startswith(f"{run}/records.json is signed by a key that {run}/config/dlcompare/allowed_signers does "
                            'not list: Good "dlcompare" signature with ED25519 key SHA256:')
    (run / "known").write_text(f"ada@example.org {key.with_suffix('.pub').read_text()}")
    first = dlcompare(capsys, "compare", run / "records.json", "--signers", run / "known").splitlines()[0]
    assert first.startswith(f'{run}/records.json is signed by ada@example.org: Good "dlcompare" signature for ada@')


@needs_ssh
def test_records_that_were_altered_since_do_not_fit(run: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dlcompare(capsys, "sign", run, "--key", key)
    file = run / "records.json"
    file.write_text(file.read_text().replace('"duration_s": 41.7', '"duration_s": 41.6'))
    (run / "known").write_text(f"ada@example.org {key.with_suffix('.pub').read_text()}")
    for words in ((), ("--signers", run / "known")):
        first = dlcompare(capsys, "report", run, *words).splitlines()[0]
        assert first.startswith(f"SIGNATURE DOES NOT FIT: {file} is not what was signed")
    (run / "records.json.sig").write_text("nonsense\x1b[2J")
    assert dlcompare(capsys, "report", run).startswith("SIGNATURE DOES NOT FIT")


@needs_ssh
def test_a_key_that_is_not_accepted_is_no_fault_of_the_file(
        run: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dlcompare(capsys, "sign", run, "--key", key)
    (run / "known").write_text(f'ada namespaces="git" {key.with_suffix(".pub").read_text()}')
    first = dlcompare(capsys, "report", run, "--signers", run / "known").splitlines()[0]
    assert first.startswith(f"{run}/records.json is what was signed, but {run}/known does not accept the key for ada (")
    file = run / "records.json"
    file.write_text(file.read_text().replace('"duration_s": 41.7', '"duration_s": 41.6'))
    assert dlcompare(capsys, "report", run, "--signers", run / "known").startswith("SIGNATURE DOES NOT FIT")


@needs_ssh
def test_a_file_that_is_no_key_is_refused(run: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot sign with .*records\.json: .*; name a private SSH key"):
        signature.sign(run / "records.json", run / "records.json")
    assert not (run / "records.json.sig").exists()
    with pytest.raises(UsageError, match="there is no list of signers 'nobody'; name a file"):
        signature.verdict(run / "records.json", Path("nobody"))


def test_without_ssh_keygen_it_is_said_what_to_install(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(run))
    with pytest.raises(UsageError, match="install OpenSSH's client"):
        signature.sign(run / "records.json", run / "key")
    (run / "records.json.sig").touch()
    said = signature.verdict(run / "records.json")
    assert said and "is not checked, for ssh-keygen is not on PATH" in said
