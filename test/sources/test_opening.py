"""The layout of a source is found out, and what is none is refused."""

import pytest
import recordings
from recordings import FRAMES, RATE_HZ

from c2f_ros.contract import InputError
from c2f_ros.sources.opening import detect_kind, open_source


@pytest.mark.parametrize("kind", ["folder", "movid", "kins", "cocoa"])
def test_every_layout_is_detected(kind, tmp_path):
    getattr(recordings, f"write_{kind}")(tmp_path)
    source = open_source(tmp_path, "auto", "0", RATE_HZ)
    assert (detect_kind(tmp_path), source.kind) == (kind, kind)
    assert len(list(source.frames)) == (1 if kind == "cocoa" else FRAMES)


def test_a_single_file_is_a_source_too(tmp_path):
    assert detect_kind(recordings.write_kins(tmp_path / "k")) == "kins"
    assert detect_kind(recordings.write_cocoa(tmp_path / "c")) == "cocoa"
    assert detect_kind(recordings.write_movid(tmp_path / "m")) == "movid"


def test_an_unknown_layout_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(InputError, match=r"no known layout; expected one of folder .* movid .* kins .* cocoa"):
        detect_kind(tmp_path)


def test_a_missing_source_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        detect_kind(tmp_path / "nothing")


@pytest.mark.parametrize("kind", ["folder", "movid", "kins", "cocoa"])
def test_a_kind_that_the_source_is_not_is_refused(kind, tmp_path):
    with pytest.raises(InputError):
        list(open_source(tmp_path, kind, "0", RATE_HZ).frames)
