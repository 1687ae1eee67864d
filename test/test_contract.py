"""The strict reader: every odd key, type or value is refused in one sentence that names it."""

import copy

import pytest
from frames import plain_manifest

from c2f_ros.contract import ContractError, Manifest, parse, to_plain


def test_a_manifest_reads_and_writes_back_unchanged():
    plain = plain_manifest()
    assert to_plain(parse(Manifest, plain, "m")) == plain


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
        (("temporal", "mode"), "stream", "temporal.mode is 'stream'"),
        (("temporal",), 3, "expected a mapping"),
        (("mask_threshold",), 1.5, "mask_threshold is 1.5"),
        (("crop", "size"), 32, "graph.inputs"),
    ],
)
def test_what_the_contract_does_not_know_is_refused_by_name(path, value, message):
    plain = copy.deepcopy(plain_manifest())
    part = plain
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(ContractError, match=message.replace("[", r"\[")):
        parse(Manifest, plain, "m")


@pytest.mark.parametrize("key", sorted(plain_manifest()))
def test_every_key_of_the_manifest_is_needed(key):
    plain = plain_manifest()
    del plain[key]
    with pytest.raises(ContractError, match=f"missing key {key}"):
        parse(Manifest, plain, "m")


def test_an_int_is_taken_where_a_float_is_expected():
    plain = plain_manifest()
    plain["crop"]["scale"] = 2
    assert parse(Manifest, plain, "m").crop.scale == 2.0
