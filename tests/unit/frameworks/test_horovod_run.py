"""What our door to horovodrun finds out before it starts anything; Horovod itself is not needed."""

import socket

import pytest

from dlcompare.frameworks.horovod import run


@pytest.mark.parametrize(("name", "told"), [("192.0.2.1", "none of its addresses is of this host"),
                                            ("", "fails")])
def test_a_name_of_this_host_that_leads_nowhere_is_told(monkeypatch: pytest.MonkeyPatch, name: str, told: str) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name or "a" * 80)  # longer than a label may be
    with pytest.raises(SystemExit, match=f"this host's own name, .*{told}.*`127.0.0.1 .*`"):
        run.check_own_name()


def test_a_name_that_leads_to_this_host_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "127.0.0.1")
    run.check_own_name()
