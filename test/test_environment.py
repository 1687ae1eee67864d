from importlib.util import module_from_spec, spec_from_file_location

import pytest


@pytest.fixture(scope="module")
def environment(checkout):
    spec = spec_from_file_location("environment", checkout / "scripts" / "environment.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_disk_without_room_is_refused_before_anything_is_installed(environment):
    with pytest.raises(environment.EnvironmentProblem, match=r"1\.2 GB are free .* installing `test` takes 4\.0 GB"):
        environment.check_disk("test", 1_200_000_000)


def test_every_profile_says_what_room_it_takes_and_more_than_what_it_contains(environment):
    assert environment.FREE_GB.keys() == environment.PROFILES.keys()
    for profile, (inner, *_) in environment.PROFILES.items():
        environment.check_disk(profile, int(environment.FREE_GB[profile] * 1e9))
        assert inner is None or environment.FREE_GB[profile] > environment.FREE_GB[inner]
