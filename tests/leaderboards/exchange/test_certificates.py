"""Certificates travel as files and stand in the leaderboard, its tables and its report."""

from __future__ import annotations

import pytest

from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_leaderboards.exchange.certificates import (
    certificate_bytes,
    certificate_file,
    find_certificates,
    read_certificate,
)
from icrl_leaderboards.exchange.reading import PublishedRunError
from icrl_leaderboards.report.writing import write_report
from icrl_leaderboards.runs.certificates import Certificate


@pytest.fixture
def certificate():
    return Certificate(
        environment="reacher-goal-v1",
        protocol="laptop-v1",
        source="sac",
        task_labels=("test-000", "test-001"),
        random=(-10.0, -20.0),
        oracle=(-1.0, -1.0),
        oracle_greedy=(0.0, 0.0),
        success=(1.0, 0.4),
        blind={"zero_action": (-8.0, -12.0)},
        wrong_task=(-9.0, -9.0),
        steps_to_tell_apart=1.0,
        horizon=50,
        env_steps=100,
    )


def test_the_board_gives_back_what_was_recorded_and_keeps_the_newest(tmp_path, certificate):
    with Leaderboard(tmp_path / "board.sqlite") as board:
        assert board.certificates() == {}
        board.record_certificate(certificate)
        newer = certificate.model_copy(update={"env_steps": 200})
        board.record_certificate(newer)
        assert board.certificates() == {("reacher-goal-v1", "laptop-v1"): newer}


def test_a_file_and_back(tmp_path, certificate):
    path = tmp_path / certificate_file(certificate)
    path.parent.mkdir()
    path.write_bytes(certificate_bytes(certificate))
    assert find_certificates([tmp_path]) == [path]
    assert read_certificate(path) == certificate


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"environment": 1}', b"\xff", b'{"random": [NaN]}', b"x" * (2**20 + 1)]
)
def test_what_is_no_certificate_is_refused_with_its_name(tmp_path, content):
    path = tmp_path / "x.certificate"
    path.write_bytes(content)
    with pytest.raises(PublishedRunError, match=r"x\.certificate"):
        read_certificate(path)


def test_a_name_cannot_lead_out_of_the_folder(certificate):
    hostile = certificate.model_copy(update={"environment": "../../etc", "protocol": "/root"})
    assert ".." not in certificate_file(hostile).parts
    assert not certificate_file(hostile).is_absolute()


def test_the_report_shows_it_at_the_head_of_its_environment(tmp_path, make_record, certificate):
    run = make_record("ad-mamba", environment="reacher-goal-v1", protocol="laptop-v1")
    write_report([run], tmp_path, certificates={("reacher-goal-v1", "laptop-v1"): certificate})
    assert "1 of 2 test tasks" in (tmp_path / "index.html").read_text()
    assert "1 of 2 test tasks" in (tmp_path / "report.md").read_text()
    write_report([run], tmp_path, certificates={("ant-dir-v1", "laptop-v1"): certificate})
    assert "1 of 2 test tasks" not in (tmp_path / "index.html").read_text()
