"""Parity of the video model on a whole clip: crops, steps over several windows, refinement, pasting, scores."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from c2f_ros.contract import TemporalSpec
from c2f_ros.crops import Bounds, observe_object, window_inputs
from c2f_ros.geometry import BoolArray, place
from c2f_ros.metrics import published_video_iou
from c2f_train.model.decoding import Step
from c2f_train.model.network import C2FNetwork
from c2f_train.official.official_bundle import INPUT, published_crop
from c2f_train.official.parity_checks import EXACT, FEATURE, STAGE, Array, Checks, Recorded
from c2f_train.official.parity_image import (
    check_position,
    check_scores,
    check_steps,
    cut_targets,
    entropy,
    pasted,
    thinned,
    undecided_apart,
    with_steps,
)


@torch.no_grad()
def check_clip(checks: Checks, network: C2FNetwork, data: Recorded) -> None:
    """One object in a clip of as many frames as windows hold; the roll joins neighbouring windows."""
    clip = _Clip(network, data)
    clip.check_crops(checks)
    if "z_in" in data:
        with_steps(network, len(data.read("z_in")))
    # Frame by frame: what the layers of a whole clip give at once would take gigabytes at full size.
    features = [network.features(clip.image[t : t + 1], clip.masks[t : t + 1]) for t in range(clip.count)]
    visible_tokens = torch.cat([network.tokenizer.encode(clip.masks[t : t + 1]) for t in range(clip.count)])
    checks.recorded(data, "c_ids", visible_tokens, EXACT)
    tops = [torch.cat([levels[-1] for levels in features])]
    steps, hidden = network.complete(tops, visible_tokens, clip.count)
    check_steps(checks, network, data, steps)
    if "logits_sel" in data:
        selected, kept = data.read("frames_sel").astype(int), data.read("logits_sel").shape[-1]
        found = np.stack([thinned(step.logits, kept)[selected] for step in steps])
        checks.recorded(data, "logits_sel", found, FEATURE)
    clip.check_result(checks, features, steps[-1], hidden)
    checks.close(data)


class _Clip:
    """The recorded clip, cut by our own preprocessing around the recorded boxes."""

    def __init__(self, network: C2FNetwork, data: Recorded) -> None:
        self.network, self.data, self.size = network, data, network.config.crop_size
        pixels, self.labels, value = data.read("frames"), data.read("seg"), int(data.read("value"))
        self.count, self.height, self.width = self.labels.shape
        self.visible = self.labels == value
        self.whole = data.read("full", self.labels.shape)
        self.is_other = (self.labels != 0) & ~self.visible
        crop = published_crop(self.size)
        self.window = [
            observe_object(
                pixels[t], "rgb8", self.visible[t], place(self.visible[t]), crop, INPUT.mask_channels, t, bounds
            )
            for t, bounds in enumerate(self._bounds())
        ]
        self.boxes = [one.box for one in self.window]
        image, masks = window_inputs([self.window], crop, INPUT, TemporalSpec("window", self.count))
        self.image, self.masks = torch.from_numpy(image[0]), torch.from_numpy(masks[0])

    def _bounds(self) -> list[Bounds]:
        """Per frame the recorded box, or, where there is none, that of the whole mask's largest part (spec 2.1)."""
        frames, boxes = self.data.read("bbox_frames").tolist(), self.data.read("boxes")
        stored = dict(zip(frames, boxes, strict=True))
        found: list[Bounds] = []
        for t in range(self.count):
            if t in stored:
                y0, x0, y1, x1 = stored[t]
                top, left = int(self.height * y0), int(self.width * x0)
                found.append((left, top, int(self.width * x1) - left, int(self.height * y1) - top))
            else:
                found.append(_largest_part(self.whole[t]))
        return found

    def check_crops(self, checks: Checks) -> None:
        data, size = self.data, (self.count, self.size, self.size)
        if "obj_position" in data:
            check_position(checks, data, self.boxes, self.height, self.width, self.size)
        for t in range(self.count):
            checks.recorded(data, f"img_crop_frame{t}", self.image[t].permute(1, 2, 0), STAGE)
        checks.recorded(data, "img_crop_mean", self.image.double().mean((1, 2, 3)), STAGE)
        checks.recorded(data, "vm_crop", self.masks[:, 0] == 1, EXACT, size)
        checks.recorded(data, "fm_crop", lambda: cut_targets(self.whole, self.boxes, self.size), EXACT, size)
        checks.recorded(data, "counts", [t in self.data.read("bbox_frames") for t in range(self.count)], EXACT)
        for name, found in (
            ("loss_mask", ~self.is_other), ("fm_no_crop", self.whole), ("vm_no_crop", self.visible),
        ):  # fmt: skip
            checks.recorded(data, name, found, EXACT, self.labels.shape)

    def check_result(self, checks: Checks, features: list[list[Tensor]], last: Step, hidden: Tensor) -> None:
        """Coarse masks, both branches, pasted maps and scores."""
        network, data = self.network, self.data
        coarse = torch.cat([network.tokenizer.coverage(network.tokenizer.decode(t[None])) for t in last.tokens])
        found = [network.refiner(levels, hidden[t : t + 1], coarse[t : t + 1]) for t, levels in enumerate(features)]
        whole, seen = (torch.cat([one[name] for one in found]) for name in ("amodal", "visible"))
        selected = data.read("frames_sel").astype(int) if "frames_sel" in data else []
        own = network.refiner.times
        checks.recorded(data, "coarse_mean", coarse.double().mean((1, 2, 3)), STAGE)
        checks.recorded(data, "coarse_sel", coarse[selected], STAGE)
        checks.recorded(data, "am_logit_sel", whole[selected][..., ::own, ::own], FEATURE)
        checks.recorded(data, "vm_logit_sel", seen[selected][..., ::own, ::own], FEATURE)
        refined, rough = (pasted(maps, self.boxes, self.height, self.width) for maps in (whole.sigmoid(), coarse))
        checks.recorded(data, "coarse_full", rough, STAGE)
        checks.recorded(data, "refined_full", refined, STAGE)
        mask = refined + rough > 0.5
        if "coarse_full" in data and "refined_full" in data:
            expected = (data.read("coarse_full") + data.read("refined_full")).reshape(mask.shape)
            undecided_apart(checks, f"{data.name}: refined + coarse", refined + rough, expected)
        values = self._scores(mask)
        target = cut_targets(self.whole, self.boxes, self.size)
        values["loss_fm"] = entropy(whole, target)
        values["loss_vm"] = entropy(seen, (self.masks[:, 0] == 1).numpy())
        check_scores(checks, data, "", values)

    def _scores(self, mask: BoolArray) -> dict[str, float]:
        """Means over frames that count (spec 10.4), of the mask and of the same with the visible mask wherever no other
        object is seen (8.4)."""
        counts: Array = np.asarray(self.data.read("counts"), np.float64).ravel()
        values = {"iou_count": 1.0, "occ_count": 1.0}
        for suffix, predicted in (("", mask), ("post", np.where(self.is_other, mask, self.visible))):
            score = published_video_iou(predicted, self.whole, self.visible)
            values["iou_post" if suffix else "iou"] = _mean(score.full_iou, counts)
            values[f"invisible_iou_{suffix}"] = _mean(score.occluded_iou, counts)
        return values


def _mean(values: Array, weights: Array) -> float:
    return float((values * weights).sum() / weights.sum())


def _largest_part(whole: BoolArray) -> Bounds:
    parts, count = ndimage.label(whole, np.ones((3, 3)))
    if count == 0:
        return 0, 0, 256, 256
    rows, columns = np.nonzero(parts == 1 + np.argmax(np.bincount(parts.ravel())[1:]))
    left, top = int(columns.min()), int(rows.min())
    return left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top
