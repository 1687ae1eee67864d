"""Parity of single stages, and of the image model from the picture to its scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from c2f_ros.contract import TemporalSpec
from c2f_ros.crops import observe_object, stretch_mask, unstretch, window_inputs
from c2f_ros.geometry import BoolArray, Box, FloatArray, common_sizes, cut_mask, place
from c2f_ros.metrics import published_image_iou
from c2f_train.model.decoding import Step
from c2f_train.model.network import C2FNetwork
from c2f_train.model.refiner import coarse_attention, coarse_cells
from c2f_train.official.official_bundle import INPUT, published_crop
from c2f_train.official.parity_checks import EXACT, FEATURE, SCORE, STAGE, Array, Checks, Recorded, stride_of


def floats(array: Array) -> Tensor:
    """float32."""
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def tokens(array: Array) -> Tensor:
    """int64."""
    return torch.from_numpy(array.astype(np.int64))


def with_steps(network: C2FNetwork, steps: int) -> C2FNetwork:
    """`network`, from now on with that many mask-and-predict steps."""
    network.config = replace(network.config, inference=replace(network.config.inference, steps=steps))
    return network


@torch.no_grad()
def check_stages(checks: Checks, network: C2FNetwork, data: Recorded) -> None:
    """Tokenizer, transformer and refiner from recorded inputs."""
    _check_tokenizer(checks, network, data)
    if "tr_logits" in data:
        base, visible, known = (data.read(name) for name in ("tr_f3", "tr_c", "tr_z"))
        # A clip's frames are recorded once: frame t is the first one times 1 - 0.1 t.
        frames = len(visible) // len(base) if network.config.frames > 1 else 1
        features = floats(base)
        if frames > 1:
            features = torch.cat([features * (1 - 0.1 * t) for t in range(frames)])
        image = network.transformer.embed_image(features)
        logits, _ = network.transformer(image, tokens(visible), tokens(known), frames)
        checks.recorded(data, "tr_logits", lambda: thinned(logits, data.read("tr_logits").shape[-1]), STAGE)
    if "ref_am" in data and network.refiner is not None:
        features = [floats(data.read(f"ref_f{i}")) for i in range(4)]
        coarse = floats(data.read("ref_coarse"))
        cells = coarse_cells(coarse, network.config.grid, network.config.refiner.coarse_cells)
        attention = coarse_attention(network.refiner.adapt(features[-1]), cells, network.config.refiner.attention)
        found = network.refiner.branch_logits(features, coarse.new_zeros(0), coarse)
        checks.recorded(data, "ref_attn", attention, STAGE)
        checks.recorded(data, "ref_vm", found["visible"], STAGE)
        checks.recorded(data, "ref_am", found["amodal"], STAGE)
    checks.close(data)


def _check_tokenizer(checks: Checks, network: C2FNetwork, data: Recorded) -> None:
    tokenizer, grid = network.tokenizer, network.config.grid
    if "vq_in" in data:
        masks = floats(data.read("vq_in"))
        embedded = tokenizer.embed(masks)
        distance = (embedded.unsqueeze(2) - tokenizer.quantize.vectors).square().sum(-1).sort(-1).values
        checks.recorded(data, "vq_ze", embedded.transpose(1, 2).unflatten(2, (grid, grid)), STAGE)
        checks.recorded(data, "vq_ids", lambda: tokenizer.encode(masks), EXACT)
        # The gap is a difference of distances, as large as those: a relative tolerance.
        checks.recorded(data, "vq_gap", distance[..., 1] - distance[..., 0], STAGE * float(distance.max()))
        checks.recorded(data, "vq_loss", lambda: tokenizer(masks)[1], STAGE)
    if "dec_ids" in data:
        checks.recorded(data, "dec_out", tokenizer.decode(tokens(data.read("dec_ids"))), STAGE)


def thinned(logits: Tensor, kept: int) -> FloatArray:
    """Every n-th class, `kept` of them, as they were recorded."""
    return logits[..., :: stride_of(logits.shape[-1], kept)].numpy()


def check_steps(checks: Checks, network: C2FNetwork, data: Recorded, steps: list[Step]) -> None:
    """Every mask-and-predict step of the deterministic run."""
    codes = network.config.tokenizer.codebook_size

    def stacked(name: str) -> FloatArray:
        return np.stack([getattr(step, name).numpy() for step in steps])

    checks.recorded(data, "z_in", lambda: stacked("known"), EXACT)
    checks.recorded(
        data, "logits",
        lambda: np.stack([thinned(step.logits, data.read("logits").shape[-1]) for step in steps]), FEATURE,
    )  # fmt: skip
    checks.recorded(data, "argmax_ids", lambda: np.stack([s.logits[..., :codes].argmax(-1) for s in steps]), EXACT)
    checks.recorded(data, "sel_prob", lambda: stacked("probability"), STAGE)
    checks.recorded(data, "mask_len", lambda: stacked("count"), EXACT)
    checks.recorded(data, "masking", lambda: stacked("masked"), EXACT)


def cut_targets(masks: BoolArray, boxes: list[Box], size: int) -> BoolArray:
    """Whole-image masks [T, H, W] as the crops see them, [T, size, size]."""
    fills = common_sizes(boxes, size)
    cuts = [cut_mask(place(mask), box) for mask, box in zip(masks, boxes, strict=True)]
    return np.stack([stretch_mask(cut, *fill, size) for cut, fill in zip(cuts, fills, strict=True)])


def entropy(logits: Tensor, target: BoolArray) -> float:
    """Mean binary cross entropy of logits [T, 1, S, S] as published (spec 12.5): of the sigmoid, which saturates."""
    return float(F.binary_cross_entropy(logits[:, 0].sigmoid(), floats(target)))


def pasted(maps: Tensor, boxes: list[Box], height: int, width: int) -> FloatArray:
    """Maps [T, 1, S, S] of a window in their images, float32 [T, H, W]."""
    out = np.zeros((len(boxes), height, width), np.float32)
    for index, (canvas, box) in enumerate(zip(out, boxes, strict=True)):
        canvas[box.slices] = unstretch(maps[index, 0].numpy(), boxes, index)
    return out


@torch.no_grad()
def check_item(checks: Checks, network: C2FNetwork, data: Recorded) -> None:
    """One object of the image model: crop, features, steps, refinement, pasting, scores; then the sampled run."""
    item = _Item(network, data)
    item.check_crop(checks)
    item.check_features(checks)
    if "z_in" in data:
        with_steps(network, len(data.read("z_in")))
    steps, hidden = network.complete(item.features, item.visible_tokens, 1)
    check_steps(checks, network, data, steps)
    item.check_result(checks, steps[-1], hidden, "")
    if "noisy_sampled_raw" in data:
        raw, gumbel = tokens(data.read("noisy_sampled_raw")), floats(data.read("noisy_gumbel"))

        def as_recorded(step: int, probability: Tensor) -> tuple[Tensor, Tensor]:
            return raw[step], gumbel[step]

        steps, hidden = network.complete(item.features, item.visible_tokens, 1, as_recorded)
        checks.recorded(data, "noisy_z_in", np.stack([step.known for step in steps]), EXACT)
        checks.recorded(data, "noisy_sel_prob", np.stack([step.probability for step in steps]), STAGE)
        checks.recorded(data, "noisy_masking", np.stack([step.masked for step in steps]), EXACT)
        item.check_result(checks, steps[-1], hidden, "noisy_")
    checks.close(data)


class _Item:
    """One recorded object, cut and encoded by our own preprocessing."""

    def __init__(self, network: C2FNetwork, data: Recorded) -> None:
        self.network, self.data, self.size = network, data, network.config.crop_size
        pixels = data.read("image")
        self.height, self.width = pixels.shape[:2]
        self.seen, self.visible, self.whole = (self._mask(name) for name in ("vm_pred", "vm_gt", "fm_gt"))
        crop = published_crop(self.size)
        one = observe_object(
            pixels, "rgb8", self.seen, place(self.seen), crop, INPUT.mask_channels, 0, tuple(data.read("bbox_xywh"))
        )
        self.boxes = [one.box]
        image, masks = window_inputs([(one,)], crop, INPUT, TemporalSpec("image", 1))
        self.image, self.masks = torch.from_numpy(image), torch.from_numpy(masks)
        self.features = network.features(self.image, self.masks)
        self.visible_tokens = network.tokenizer.encode(self.masks[:, :1])

    def _mask(self, name: str) -> BoolArray:
        return self.data.read(name, (self.height, self.width))

    def _target(self, mask: BoolArray) -> BoolArray:
        return cut_targets(mask[None], self.boxes, self.size)

    def check_crop(self, checks: Checks) -> None:
        data, size = self.data, (self.size, self.size)
        if "obj_position" in data:
            check_position(checks, data, self.boxes, self.height, self.width, self.size)
        checks.recorded(data, "img_crop", self.image[0].permute(1, 2, 0), STAGE)
        checks.recorded(data, "vm_crop", self.masks[0, 0] == 1, EXACT, size)
        checks.recorded(data, "fm_crop", lambda: self._target(self.whole), EXACT, size)
        checks.recorded(data, "vm_crop_gt", lambda: self._target(self.visible), EXACT, size)

    def check_features(self, checks: Checks) -> None:
        for index, feature in enumerate(self.features):
            name, flat = f"feat_sub{index}", feature.flatten()
            if name in self.data:
                step = stride_of(len(flat), self.data.read(name).size)
                checks.recorded(self.data, name, flat[::step], FEATURE)
            checks.recorded(self.data, f"feat_chmean{index}", feature.mean((2, 3)), FEATURE)
        checks.recorded(self.data, "c_ids", self.visible_tokens, EXACT)

    def check_result(self, checks: Checks, last: Step, hidden: Tensor, prefix: str) -> None:
        """Coarse mask, both branches, pasted maps, masks, scores of a run; `prefix` of its recorded names."""
        network, data = self.network, self.data
        coarse = network.tokenizer.coverage(network.coarse(last))
        found = network.refiner(self.features, hidden, coarse)
        own = network.refiner.times
        checks.recorded(data, f"{prefix}coarse", coarse, STAGE)
        for name, branch in (("vm", "visible"), ("am", "amodal")):
            checks.recorded(data, f"{prefix}{name}_logit", found[branch][..., ::own, ::own], FEATURE)
        whole = pasted(found["amodal"].sigmoid(), self.boxes, self.height, self.width)[0]
        full = f"{prefix}fm_full" if prefix else "pred_fm_full"
        checks.recorded(data, full, whole, STAGE)
        if full in data:
            undecided_apart(checks, f"{data.name}: {full}", whole, data.read(full))
        if not prefix and "pred_vm_full" in data:
            seen = pasted(found["visible"].sigmoid(), self.boxes, self.height, self.width)[0]
            checks.recorded(data, "pred_vm_full", seen, STAGE)
            undecided_apart(checks, f"{data.name}: pred_vm_full", seen, data.read("pred_vm_full"))
        values = self._scores(whole > 0.5)
        values["loss_fm"] = entropy(found["amodal"], self._target(self.whole))
        values["loss_vm"] = entropy(found["visible"], self._target(self.visible))
        check_scores(checks, data, prefix, values)

    def _scores(self, mask: BoolArray) -> dict[str, float]:
        """The recorded scores of a mask (spec 10.1, 10.2), and of the same joined with the mask seen (8.3)."""
        values: dict[str, float] = {"iou_count": 1.0}
        for suffix, predicted in (("", mask), ("post", mask | self.seen)):
            score = published_image_iou(predicted[None], self.whole[None], self.visible[None])
            values["iou_post" if suffix else "iou"] = float(score.full_iou[0])
            # Where nothing counts, the published sum is 0 and so is this object's share of it.
            values[f"invisible_iou_{suffix}"] = float(score.occluded_iou[0])
            values["occ_count"] = float(score.is_counted[0])
        return values


def undecided_apart(checks: Checks, name: str, found: FloatArray, expected: Array) -> None:
    """Masks above 0.5 are equal, apart from pixels whose recorded value is nearer to 0.5 than values may differ."""
    recorded = np.asarray(expected, np.float32).reshape(found.shape)
    is_decided = np.abs(recorded - 0.5) > STAGE
    checks.equal(f"{name} > 0.5", (found > 0.5) & is_decided, (recorded > 0.5) & is_decided)


def check_position(checks: Checks, data: Recorded, boxes: list[Box], height: int, width: int, size: int) -> None:
    """Where the crops lie, and how much of them is padding."""
    r0, r1, c0, c1 = data.read("obj_position").reshape(-1, 4).astype(int).T
    expected = np.stack([c0, r0, np.minimum(width, c1 + 1), np.minimum(height, r1 + 1)], 1)
    found = [(box.x0, box.y0, box.x1, box.y1) for box in boxes]
    checks.equal(f"{data.name}: obj_position", np.array(found), expected)
    checks.recorded(data, "vm_pad", size - np.array(common_sizes(boxes, size)), EXACT)


def check_scores(checks: Checks, data: Recorded, prefix: str, values: dict[str, float]) -> None:
    """The recorded scores by name; losses have the tolerance of a stage."""
    if f"{prefix}eval_values" not in data:
        return
    recorded = zip(data.read("eval_names").tolist(), data.read(f"{prefix}eval_values").tolist(), strict=True)
    for name, expected in recorded:
        label = f"{data.name}: {prefix}eval {name}"
        if name in values:
            checks.near(label, values[name], expected, STAGE if name.startswith("loss") else SCORE)
        else:
            checks.not_compared.append(label)
