"""What the node has seen and done, counted; and the verdict that diagnostics publishes. Pure, no ROS."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from c2f_ros.steps.step2_pairing import PairingCounts

OK, WARN, ERROR = 0, 1, 2


@dataclass
class Counts:
    """Every message and frame ends in exactly one of these.

    images, masks: received. refused: unusable messages. stale: pairs not newer than the last one. skipped: observed,
    but a newer frame came before the engine was free. discarded: left waiting when the node was deactivated.
    """

    images: int = 0
    masks: int = 0
    refused: int = 0
    stale: int = 0
    inferred: int = 0
    skipped: int = 0
    discarded: int = 0
    engine_failures: int = 0
    published: int = 0
    errors: int = 0


@dataclass
class TrackCounts:
    """What became of tracks, for models that remember objects. hidden: remembered in the newest frame though upstream
    does not send them. ended: hidden tracks that are over, by reason. memory_drops: how often all was forgotten at
    once; last_drop: why, last time. state_bytes: of the model's memory, in use and in all."""

    hidden: int = 0
    ended: dict[str, int] = field(default_factory=dict)
    reassociated: int = 0
    memory_drops: int = 0
    last_drop: str = ""
    state_bytes: tuple[int, int] = (0, 0)

    def values(self) -> dict[str, str]:
        """Key-values for diagnostics."""
        used, total = self.state_bytes
        return {
            "hidden_tracks": str(self.hidden),
            **{f"ended_{reason}": str(count) for reason, count in sorted(self.ended.items())},
            "reassociated": str(self.reassociated),
            "memory_drops": str(self.memory_drops),
            "state_bytes": f"{used} of {total}",
        }


@dataclass
class Health:
    """Counts, times of arrival, and the last fault; `verdict` compares them with the previous call."""

    counts: Counts = field(default_factory=Counts)
    last_image_s: float | None = None
    last_masks_s: float | None = None
    last_fault: str = ""
    _before: dict[str, int] = field(default_factory=dict)
    _before_s: float | None = None

    def verdict(
        self, now_s: float, stale_s: float, started_s: float, pairing: PairingCounts
    ) -> tuple[int, str, dict[str, str]]:
        """Level, one sentence, and key-values since start; rates are since the last call."""
        total = {f.name: getattr(self.counts, f.name) for f in fields(Counts)}
        total |= {f.name: getattr(pairing, f.name) for f in fields(PairingCounts)}
        gained = {key: value - self._before.get(key, 0) for key, value in total.items()}
        span = now_s - (self._before_s if self._before_s is not None else started_s)
        rates = {
            f"{key}_per_s": f"{gained[key] / span:.1f}" if span > 0 else "0.0"
            for key in ("images", "masks", "inferred")
        }
        self._before, self._before_s = total, now_s
        level, text = self._judge(now_s, stale_s, started_s, gained)
        values = {key: str(value) for key, value in total.items()} | rates
        if self.last_fault:
            values["last_fault"] = self.last_fault
        return level, text, values

    def _judge(self, now_s: float, stale_s: float, started_s: float, gained: dict[str, int]) -> tuple[int, str]:
        if gained["engine_failures"] or gained["errors"]:
            return ERROR, f"{gained['engine_failures'] + gained['errors']} frames failed: {self.last_fault}"
        for what, last in (("image", self.last_image_s), ("mask message", self.last_masks_s)):
            silent = now_s - (last if last is not None else started_s)
            if silent > stale_s:
                return WARN, f"no {what} for {silent:.1f} s; check the topic and its QoS"
        if gained["refused"]:
            return WARN, f"{gained['refused']} messages refused: {self.last_fault}"
        unpaired = gained["unpaired_images"] + gained["unpaired_masks"]
        if unpaired > gained["paired"]:
            return (
                WARN,
                f"{unpaired} messages found no partner of equal stamp; check that masks carry their image's stamp",
            )
        if gained["skipped"]:
            return OK, f"running; {gained['skipped']} frames skipped because newer ones came first"
        return OK, "running"
