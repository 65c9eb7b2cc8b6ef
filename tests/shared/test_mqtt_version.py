"""Which version of MQTT is tried next."""

from __future__ import annotations

from shared.mqtt_version import NEW, OLD, Version


def test_a_broker_that_closes_on_the_new_one_is_asked_again_for_it_at_every_connection() -> None:
    version = Version()
    assert version.next == NEW
    version.refused(too_new=True, mute=False)
    assert version.next == OLD
    version.accepted()
    assert version.next == NEW


def test_a_broker_that_never_answers_the_new_one_is_asked_for_it_only_once() -> None:
    version = Version()
    version.refused(too_new=False, mute=True)
    assert version.next == OLD
    version.accepted()
    version.refused(too_new=False, mute=False)
    assert version.next == OLD


def test_a_broker_that_hangs_and_once_spoke_the_new_one_keeps_it() -> None:
    version = Version()
    version.accepted()
    version.refused(too_new=False, mute=True)
    assert version.next == NEW


def test_a_broker_that_hangs_from_the_start_is_tried_in_both() -> None:
    version = Version()
    tried = []
    for _ in range(4):
        tried.append(version.next)
        version.refused(too_new=False, mute=True)
    assert tried == [NEW, OLD, NEW, OLD]
