"""The strict reader: every odd key, type or value is refused in one sentence that names it."""

import copy

import pytest
from frames import SIZE, plain_manifest

from c2f_ros.contract import ContractError, Manifest, parse, to_plain


def with_value(plain, path, value):
    """A copy of the manifest in which what `path` leads to is `value`."""
    plain = copy.deepcopy(plain)
    part = plain
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return plain


def test_a_manifest_reads_and_writes_back_unchanged():
    plain = plain_manifest()
    assert to_plain(parse(Manifest, plain, "m")) == plain | {"frame_graph": None}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("crop", "colour"), 1, "unknown key colour"),
        (("surprise",), 1, "unknown key surprise"),
        (("crop", "size"), "64", "m.crop.size: found '64', expected int"),
        (("crop", "size"), True, "m.crop.size: found True"),
        (("input", "mean"), [0.5, 0.5], "found 2 items, expected 3"),
        (("input", "mask_channels"), ["visible", "depth"], "depth"),
        (("schema_version",), 2, "schema_version is 2, expected 1"),
        (("temporal", "mode"), "dream", "temporal.mode is 'dream'"),
        (("temporal", "mode"), "stream", "temporal.state is .*, expected states with mode stream, else none"),
        (("temporal", "state_bytes"), 8, "temporal.state_bytes is 8, expected 0"),
        (("temporal",), 3, "expected a mapping"),
        (("mask_threshold",), 1.5, "mask_threshold is 1.5"),
        (("crop", "size"), 32, "graph.inputs"),
        (("crop", "rule"), "round", "crop.rule is 'round', expected square or stretched or followed"),
        (("crop", "rule"), "stretched", "crop.min_side_fraction is 0.2, expected 0 with crop.rule stretched"),
        (("temporal", "mode"), "window", "graph.inputs is .*, expected .*'N', 1, 3, 64, 64"),
        (("temporal", "window"), 0, "temporal.window is 0, expected at least 1"),
        (("graph", "batch_limit"), -1, "graph.batch_limit is -1"),
    ],
)
def test_what_the_contract_does_not_know_is_refused_by_name(path, value, message):
    plain = with_value(plain_manifest(), path, value)
    with pytest.raises(ContractError, match=message.replace("[", r"\[")):
        parse(Manifest, plain, "m")


@pytest.mark.parametrize("key", sorted(plain_manifest()))
def test_every_key_of_the_manifest_is_needed(key):
    plain = plain_manifest()
    del plain[key]
    with pytest.raises(ContractError, match=f"missing key {key}"):
        parse(Manifest, plain, "m")


def test_a_manifest_of_the_first_release_is_still_valid():
    plain = plain_manifest()
    del plain["graph"]["batch_limit"], plain["temporal"]["state"], plain["temporal"]["state_bytes"]
    assert parse(Manifest, plain, "m").graph.batch_limit == 0


@pytest.mark.parametrize(("frames", "found"), [(24, "refused"), (3, "accepted")])
def test_a_window_model_s_graph_takes_exactly_the_window(frames, found):
    plain = plain_manifest()
    plain["temporal"] = {"mode": "window", "window": 3}
    for tensor in plain["graph"]["inputs"]:
        tensor["shape"].insert(1, frames)
    if found == "accepted":
        assert parse(Manifest, plain, "m").temporal.frames == 3
    else:
        with pytest.raises(ContractError, match="graph.inputs"):
            parse(Manifest, plain, "m")


def test_a_stretched_crop_with_the_visible_mask_alone_is_a_valid_contract():
    plain = plain_manifest()
    plain["crop"] |= {"rule": "stretched", "min_side_fraction": 0}
    plain["input"]["mask_channels"] = ["visible"]
    plain["graph"]["inputs"][1]["shape"][1] = 1
    assert parse(Manifest, plain, "m").crop.rule == "stretched"


def test_an_int_is_taken_where_a_float_is_expected():
    plain = plain_manifest()
    plain["crop"]["scale"] = 2
    assert parse(Manifest, plain, "m").crop.scale == 2.0


def plain_stream_manifest() -> dict:
    """Two states: `memory`, laid over the newest crop, and `keys`, of the last three frames."""

    def tensor(name, dtype, *shape):
        return {"name": name, "dtype": dtype, "shape": list(shape)}

    plain = plain_manifest()
    plain["crop"]["rule"] = "followed"
    states = [
        {"name": "keys", "kind": "ring", "shape": [16, 6]},
        {"name": "memory", "kind": "aligned", "shape": [5, 8, 8]},
    ]
    plain["temporal"] = {"mode": "stream", "window": 3, "state": states, "state_bytes": 4 * (3 * 16 * 6 + 5 * 8 * 8)}
    plain["graph"]["inputs"] += [
        tensor("warp", "float32", "N", 3),
        tensor("memory", "float32", "N", 5, 8, 8),
        tensor("ages", "int64", "N", 3),
        tensor("keys", "float32", "N", 3, 16, 6),
    ]
    plain["graph"]["outputs"] += [
        tensor("keys_next", "float32", "N", 16, 6),
        tensor("memory_next", "float32", "N", 5, 8, 8),
    ]
    return plain


def test_a_stream_manifest_reads_and_writes_back_unchanged():
    plain = plain_stream_manifest()
    manifest = parse(Manifest, plain, "m")
    assert to_plain(manifest) == plain | {"frame_graph": None}
    assert manifest.temporal.frames == 1 and manifest.graph.inputs[0].shape == ("N", 3, SIZE, SIZE)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("temporal", "state", 0, "kind"), "pile", "temporal.state keys.kind is 'pile', expected aligned or ring"),
        (("temporal", "state", 1, "shape"), [8, 8], "temporal.state memory.shape is .*, expected .channels, rows, "),
        (("temporal", "state", 1, "shape"), [5, 0, 8], "temporal.state memory.shape is .*, expected positive sizes"),
        (("temporal", "state", 0, "shape"), [], "temporal.state keys.shape is .*, expected positive sizes"),
        (("temporal", "state_bytes"), 4, "temporal.state_bytes is 4, expected 2432"),
        (("temporal", "window"), 4, "temporal.state_bytes is 2432, expected 2816"),
        (("temporal", "state"), [], "temporal.state is .*, expected states with mode stream, else none"),
        (("temporal", "mode"), "window", "temporal.state is .*, expected states with mode stream, else none"),
        (("crop", "rule"), "square", "crop.rule is 'square', expected followed with mode stream"),
        (("graph", "inputs", 2, "name"), "shift", "graph.inputs"),
        (("graph", "inputs", 3, "shape"), ["N", 5, 8, 9], "graph.inputs"),
        (("graph", "inputs", 4, "shape"), ["N", 2], "graph.inputs"),
        (("graph", "inputs", 4, "dtype"), "float32", "graph.inputs"),
        (("graph", "inputs", 5, "shape"), ["N", 16, 6], "graph.inputs"),
        (("graph", "outputs", 1, "name"), "keys_now", "graph.outputs keys_next"),
        (("graph", "outputs", 2, "shape"), ["N", 5, 8, 9], "graph.outputs memory_next"),
    ],
)
def test_states_that_contradict_the_rest_of_the_contract_are_refused_by_name(path, value, message):
    plain = with_value(plain_stream_manifest(), path, value)
    with pytest.raises(ContractError, match=message):
        parse(Manifest, plain, "m")


def test_the_order_of_state_inputs_is_that_of_the_contract():
    plain = plain_stream_manifest()
    inputs = plain["graph"]["inputs"]
    inputs[2:4], inputs[4:6] = inputs[4:6], inputs[2:4]
    with pytest.raises(ContractError, match="graph.inputs"):
        parse(Manifest, plain, "m")


def plain_cached_manifest() -> dict:
    """A window model in two graphs: `parts` and `seen` of all three frames, `level` of the newest alone."""

    def tensor(name, dtype, *shape):
        return {"name": name, "dtype": dtype, "shape": list(shape)}

    plain = plain_manifest()
    plain["temporal"] = {"mode": "window", "window": 3, "state": [], "state_bytes": 0}
    outputs = [
        tensor("parts", "float32", "N", 16, 8),
        tensor("seen", "int64", "N", 16),
        tensor("level", "float32", "N", 8, 4, 4),
    ]
    plain["frame_graph"] = plain["graph"] | {"file": "frame.onnx", "outputs": outputs}
    inputs = [
        tensor("parts", "float32", "N", 3, 16, 8),
        tensor("seen", "int64", "N", 3, 16),
        tensor("level", "float32", "N", 8, 4, 4),
    ]
    plain["graph"] = plain["graph"] | {"inputs": inputs}
    return plain


def test_a_window_model_in_two_graphs_reads_and_writes_back_unchanged():
    plain = plain_cached_manifest()
    manifest = parse(Manifest, plain, "m")
    assert to_plain(manifest) == plain
    assert [graph.file for graph in manifest.graphs] == ["frame.onnx", "c2f.onnx"]
    assert [(t.name, t.shape) for t in manifest.inputs] == [
        ("image", ("N", 3, 3, SIZE, SIZE)),
        ("masks", ("N", 3, 3, SIZE, SIZE)),
    ]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("frame_graph", "inputs", 0, "shape"), ["N", 3, 3, SIZE, SIZE], "frame_graph.inputs"),
        (("frame_graph", "outputs", 1, "name"), "heard", "graph.inputs seen is .*'of no output'"),
        (("graph", "inputs", 1, "dtype"), "float32", "graph.inputs seen"),
        (("graph", "inputs", 0, "shape"), ["N", 4, 16, 8], "graph.inputs parts"),
        (("graph", "inputs", 2, "shape"), ["N", 8, 4, 5], "graph.inputs level"),
        (("frame_graph", "batch_limit"), -1, "graph.batch_limit is -1"),
        (("frame_graph", "extra"), 1, "m.frame_graph: unknown key extra"),
        (("temporal", "mode"), "image", "temporal.mode is 'image', expected window with a frame_graph"),
    ],
)
def test_two_graphs_that_do_not_fit_together_are_refused(path, value, message):
    plain = with_value(plain_cached_manifest(), path, value)
    with pytest.raises(ContractError, match=message):
        parse(Manifest, plain, "m")
