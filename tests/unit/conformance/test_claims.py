"""A record is verified if its certificate is found and shows it, and else it is said why that is not believed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fabricated import finished, job

from dlcompare.core.conformance import certificate
from dlcompare.core.conformance.check import Check
from dlcompare.core.conformance.claims import Certificates, examined
from dlcompare.core.records.record import Record

CHECKS = [Check("relu", "loss", 1e-7, 1e-6), Check("relu", "activation/y", 0.0, 1e-6),
          Check("resnet50", "loss", 2e-7, 1e-6)]
VERSIONS = {"python": "3.11.7", "torch": "2.13.0", "numpy": "2.4.6"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Return a record with the certificate that was made for it, kept in the cache alone."""
    (tmp_path / "made").mkdir()
    certificate.save(certificate.make(job(), CHECKS, VERSIONS, None), tmp_path / "made")
    return finished(job(), **certificate.find(job(), VERSIONS))


def said(record: Record, kind: str) -> list[Any]:
    return [one.values for one in record.warnings if one.kind == kind]


def rewrite(folder: Path, record: Record, edit: Callable[[Any], None]) -> Record:
    """Alter a certificate and whatever names it, as somebody would who can write all of it; return the record."""
    (file,) = folder.glob("*.json")
    held = json.loads(file.read_text())
    edit(held)
    text = json.dumps(held, indent=1)
    file.unlink()
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    (folder / f"{name}.json").write_text(text)
    return dataclasses.replace(record, verified={**(record.verified or {}), "certificate": name})


def test_a_certificate_that_is_kept_here_or_beside_the_records_is_believed(
        record: Record, cache: Path, tmp_path: Path) -> None:
    assert record.verified and len(json.dumps(record.verified)) < 600, "a record stays small"
    assert examined(record, Certificates(tmp_path / "elsewhere")) == record
    (cache / "certificates").rename(tmp_path / "certificates")
    assert examined(record, Certificates(tmp_path)) == record
    (tmp_path / "certificates").rename(tmp_path / "gone")
    assert examined(record, Certificates(tmp_path / "made")) == record, "as a run leaves it"


def test_what_the_record_holds_of_it_is_believed_where_it_is_not_found(record: Record, tmp_path: Path) -> None:
    (tmp_path / "cache" / "certificates").rename(tmp_path / "gone")
    found = examined(record, Certificates(tmp_path / "nowhere"))
    assert found.verified == record.verified and said(found, "held")[0]["checks"] == 3
    failing = [{**one, "error": 1.0} for one in record.verified["checks"]]  # type: ignore[index]
    found = examined(dataclasses.replace(record, verified={**record.verified, "checks": failing}),  # type: ignore[dict-item]
                     Certificates(tmp_path / "nowhere"))
    assert not found.verified and "contradict its verdict" in said(found, "unproved")[0]["reason"]


@pytest.mark.parametrize("name", ["9f1c2ab07d3e4455", "../../../etc/passwd", "", "x" * 5000])
def test_an_invented_certificate_is_none(name: str, tmp_path: Path) -> None:
    invented = {"certificate": name, "passed": True, "date": "2026-11-20", "image_size": 64, "workers": 2}
    found = examined(finished(job(), verified=invented), Certificates(tmp_path))
    assert found.verified is None and "no certificate of that hash" in said(found, "unproved")[0]["reason"]


@pytest.mark.parametrize(("edit", "told"), [
    (lambda held: held["checks"][0].update(error=1.0), "1 of its 3 checks fail, and its verdict says otherwise"),
    (lambda held: held["checks"][0].update(error=None), "1 of its 3 checks fail"),
    (lambda held: held.update(checks=[]), "0 of its 0 checks fail"),
    (lambda held: held.update(passed=False), "its verdict says otherwise"),
    (lambda held: held.update(model="resnet18"), "it is of model resnet18, and the record of resnet50"),
    (lambda held: held.update(precision="bf16"), "it is of precision bf16"),
    (lambda held: held.update(versions={"torch": "1.0"}), "other versions"),
    (lambda held: held.update(workers=1), r"it is of 1 worker\(s\), and the record says 2"),
    (lambda held: held.update(checks=[3]), "its checks are no objects"),
    (lambda held: held["checks"].pop(), "none of its checks is of resnet50"),
    (lambda held: held.update(schema=77), "its schema is 77, and none of 1, 2, 3"),
    (lambda held: held["checks"][0].update(allowed="much"), "check allowed must be of type float"),
])
def test_a_certificate_that_does_not_show_what_the_record_says_is_not_believed(
        edit: Callable[[Any], None], told: str, record: Record, cache: Path, tmp_path: Path) -> None:
    found = examined(rewrite(cache / "certificates", record, edit), Certificates(tmp_path / "nowhere"))
    (values,) = said(found, "unproved")
    assert found.verified is None
    assert re.search(told, values["reason"])


def test_a_certificate_under_the_name_of_another_is_not_found(record: Record, cache: Path, tmp_path: Path) -> None:
    (file,) = (cache / "certificates").glob("*.json")
    file.write_text(file.read_text().replace('"passed": true', '"passed": true '))
    bare = dataclasses.replace(record, verified={**(record.verified or {}), "checks": []})
    assert examined(bare, Certificates(tmp_path / "nowhere")).verified is None


@pytest.mark.parametrize("claim", [{"passed": True}, {"certificate": 3}, {"certificate": "9f1c2ab07d3e4455", "x": 1}])
def test_a_claim_of_another_form_is_none(claim: Any, tmp_path: Path) -> None:
    found = examined(finished(job(), verified=claim, verified_before=claim), Certificates(tmp_path))
    assert found.verified is None and found.verified_before is None and said(found, "unproved")


def test_one_worker_or_one_invented_check_proves_nothing(record: Record, tmp_path: Path) -> None:
    nowhere = Certificates(tmp_path / "nowhere")
    alone = certificate.make(job(workers=1), CHECKS, VERSIONS, None)
    name = certificate.save(alone, tmp_path) and hashlib.sha256(json.dumps(alone, indent=1).encode()).hexdigest()[:16]
    few = dataclasses.replace(record, verified={**(record.verified or {}), "certificate": name, "workers": 1})
    assert said(examined(few, nowhere), "unproved")[0]["reason"] == "it is of 1 worker(s), and the record of 2"
    one = {"case": "x", "quantity": "y", "error": 0.0, "allowed": 1.0, "count": 900}
    invented = {**(record.verified or {}), "certificate": "9f1c2ab07d3e4455", "checks": [one]}
    found = examined(dataclasses.replace(record, verified=invented), nowhere)
    assert not found.verified and said(found, "unproved")[0]["reason"] == "none of its checks is of resnet50"


def test_an_earlier_certificate_that_is_not_at_hand_is_not_talked_about(record: Record, tmp_path: Path) -> None:
    before = dataclasses.replace(record, verified=None, verified_before=record.verified)
    assert examined(before, Certificates(tmp_path)) == before
    (tmp_path / "cache" / "certificates").rename(tmp_path / "gone")
    assert examined(before, Certificates(tmp_path / "nowhere")).verified_before is None


def test_a_cache_that_others_could_write_in_is_no_fault_of_a_certificate(
        record: Record, cache: Path, tmp_path: Path) -> None:
    cache.chmod(0o777)
    assert examined(record, Certificates(tmp_path / "made")) == record, "as it lies beside the records"
    found = examined(record, Certificates(tmp_path / "nowhere"))
    assert found.verified and not said(found, "unproved") and said(found, "held")


def test_what_was_read_before_is_examined_anew(record: Record, cache: Path, tmp_path: Path) -> None:
    nowhere, bare = Certificates(tmp_path / "nowhere"), {**(record.verified or {}), "checks": []}
    cache.rename(tmp_path / "gone")
    twice = examined(examined(record, nowhere), nowhere)
    assert len(said(twice, "held")) == 1 and examined(twice, Certificates(tmp_path / "made")) == record
    lost = examined(examined(dataclasses.replace(record, verified=bare), nowhere), nowhere)
    assert len(said(lost, "unproved")) == 1 and not lost.verified
    found = examined(type(record).from_json(lost.to_json()), Certificates(tmp_path / "made"))
    assert found.verified == bare and not said(found, "unproved")
