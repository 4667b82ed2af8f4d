"""The stop is latched, can be set by a file alone, and only a person releases it."""

import pytest

from pollux.autonomy.killswitch import KillSwitch
from pollux.core.errors import AccessError, StoreError


def test_any_file_stops_and_stays_latched(tmp_path, world):
    switch = KillSwitch(tmp_path / "STOP")
    assert not switch.stopped()
    (tmp_path / "STOP").touch()
    assert switch.stopped()
    (tmp_path / "STOP").unlink()
    assert switch.stopped()
    assert switch.why() == ""
    switch.reset(world.alice, "checked on site")
    assert not switch.stopped()


def test_stop_survives_a_restart_and_says_why(tmp_path, world):
    path = tmp_path / "STOP"
    assert KillSwitch(path).stop("agent:bot", "smoke", 5.0)
    again = KillSwitch(path)
    assert again.stopped()
    assert again.why() == "smoke (by agent:bot)"
    for who in (world.agent, world.planner, world.eve):
        with pytest.raises(AccessError, match="Only a person"):
            again.reset(who, "x")
    with pytest.raises(AccessError, match="reason"):
        again.reset(world.alice, " ")
    assert again.stopped()
    again.reset(world.alice, "false alarm")
    assert not path.exists()
    assert not KillSwitch(path).stopped()


def test_stop_works_when_the_disk_does_not(tmp_path, world):
    folder = tmp_path / "gone"
    folder.mkdir()
    switch = KillSwitch(folder / "STOP")
    folder.rmdir()
    assert switch.stop("ann", "smoke", 5.0) is False
    assert switch.stopped()


def test_what_cannot_be_read_is_a_stop(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    switch = KillSwitch(folder / "STOP")
    folder.rmdir()
    assert switch.stopped()
    folder.write_text("a file where the folder was")
    other = KillSwitch(tmp_path / "X")
    other.path = folder / "STOP"
    assert other.stopped()


def test_a_dangling_link_is_a_stop(tmp_path):
    (tmp_path / "STOP").symlink_to(tmp_path / "nowhere")
    assert KillSwitch(tmp_path / "STOP").stopped()


def test_a_stop_file_that_cannot_be_removed_stays_a_stop(tmp_path, world):
    (tmp_path / "STOP").mkdir()
    switch = KillSwitch(tmp_path / "STOP")
    assert switch.stopped()
    with pytest.raises(StoreError, match="stays"):
        switch.reset(world.alice, "x")
    assert switch.stopped()


def test_needs_its_folder(tmp_path):
    with pytest.raises(StoreError, match="create it"):
        KillSwitch(tmp_path / "no" / "STOP")
