"""Parameters: named once, checked before anything runs, explained in the README."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from c2f_ros.contract import ContractError
from c2f_ros.engines.settings import DeviceSettings
from c2f_ros.parameters import DESCRIPTIONS, Parameters, default_parameters, default_values, field_name, make_parameters

FREE = ("model", "engine_cache")
"""Parameters that may be any text."""


def test_config_table_and_record_name_the_same_parameters():
    assert set(default_values()) == set(DESCRIPTIONS)
    assert {field_name(name) for name in DESCRIPTIONS} == {f.name for f in fields(Parameters)}


def test_every_parameter_has_a_description_and_bounds():
    for name, about in DESCRIPTIONS.items():
        assert about.text.endswith("."), name
        default = default_values()[name]
        assert name in FREE or about.choices or about.low is not None or about.is_switch, name
        assert about.is_switch == isinstance(default, bool)
        assert not isinstance(default, str) or name in FREE or default in about.choices


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("engine", "cuda", "expected one of auto"),
        ("engine_precision", "half", "expected one of auto, fp32, fp16, bf16, int8"),
        ("engine_memory_mb", -1, "expected 0 to 100000"),
        ("engine_build", "yes", "expected bool"),
        ("engine_threads", 0, "expected 1 to 64"),
        ("engine_threads", 2.0, "expected int"),
        ("sync.slop_s", "0.1", "expected float"),
        ("tracking.min_iou", 2.0, "expected 0.01 to 1"),
        ("tracking.reassociate", 1, "expected bool"),
        ("tracking.max_missed", True, "expected int"),
        ("hiden_under", "anything", "unknown parameter hiden_under"),
    ],
)
def test_what_is_not_allowed_is_refused_in_one_sentence(name, value, message):
    with pytest.raises(ContractError, match=message):
        make_parameters({name: value})


def test_what_concerns_the_machine_reaches_the_engine():
    settings = {"engine_precision": "fp16", "engine_memory_mb": 0, "engine_low_priority": False, "engine_build": False}
    values = {**settings, "max_objects": 7, "engine_cache": "~/plans"}
    found = make_parameters(values).device
    assert found == DeviceSettings("fp16", 0, 7, False, Path.home() / "plans", False)
    assert default_parameters().device == DeviceSettings()


def test_an_int_is_taken_for_a_number_of_seconds():
    assert make_parameters({"window.max_gap_s": 3}).window_max_gap_s == 3.0


def test_defaults_stand_in_the_config_file_alone(checkout):
    plain = yaml.safe_load((checkout / "config" / "c2f.yaml").read_text())
    assert default_parameters().model == plain["/**"]["ros__parameters"]["model"]


def test_the_readme_s_table_is_the_code_s(checkout):
    rows = re.findall(
        r"^\| `([a-z_.]+)` \| `?([^|]*?)`? \| ([^|]*) \| ([^|]*) \|$", (checkout / "README.md").read_text(), re.M
    )
    found = {name: (default, allowed, text) for name, default, allowed, text in rows}
    shown = {n: str(v).lower() if isinstance(v, bool) else str(v) for n, v in default_values().items()}
    expected = {n: (shown[n], a.allowed, a.text) for n, a in DESCRIPTIONS.items()}
    assert found == expected
