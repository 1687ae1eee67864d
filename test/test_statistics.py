"""The verdict of diagnostics: silence, faults, refusals and skips are told apart; latency stays bounded."""

from c2f_ros.latency import KEPT, LatencyLog
from c2f_ros.statistics import ERROR, OK, WARN, Health
from c2f_ros.steps.step2_pairing import PairingCounts

STALE_S = 2.0


def verdict(health: Health, now_s: float, pairing: PairingCounts | None = None):
    return health.verdict(now_s, STALE_S, 0.0, pairing or PairingCounts())


def running(now_s: float = 10.0) -> Health:
    return Health(last_image_s=now_s, last_masks_s=now_s)


def test_a_camera_that_stops_is_named():
    health = Health(last_image_s=1.0, last_masks_s=9.9)
    level, text, _ = verdict(health, 10.0)
    assert level == WARN and text.startswith("no image for 9.0 s")


def test_a_segmenter_that_never_spoke_is_named():
    level, text, _ = verdict(Health(last_image_s=10.0), 10.0)
    assert level == WARN and text.startswith("no mask message for 10.0 s")


def test_faults_count_once_and_are_over_when_they_stop():
    health = running()
    health.counts.engine_failures, health.last_fault = 2, "engine broke"
    assert verdict(health, 10.0)[:2] == (ERROR, "2 frames failed: engine broke")
    assert verdict(health, 10.1)[0] == OK


def test_refused_messages_and_lonely_stamps_warn():
    health = running()
    health.counts.refused, health.last_fault = 1, "yuv"
    assert verdict(health, 10.0)[:2] == (WARN, "1 messages refused: yuv")
    assert "no partner of equal stamp" in verdict(health, 10.1, PairingCounts(unpaired_images=5))[1]


def test_skipped_frames_are_said_but_are_no_fault():
    health = running()
    health.counts.skipped = 3
    assert verdict(health, 10.0)[:2] == (OK, "running; 3 frames skipped because newer ones came first")


def test_rates_are_those_since_the_last_verdict():
    health = running()
    health.counts.images = 100
    verdict(health, 10.0)
    health.counts.images = 130
    values = verdict(health, 11.0)[2]
    assert values["images"] == "130" and values["images_per_s"] == "30.0"


def test_latencies_are_summarized_and_bounded():
    log = LatencyLog()
    for k in range(3 * KEPT):
        log.add("engine", float(k))
    assert log.summary()["engine"]["count"] == KEPT
    assert log.summary()["engine"]["max_ms"] == 3 * KEPT - 1
    assert list(LatencyLog().summary()) == []
