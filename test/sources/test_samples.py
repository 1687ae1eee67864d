"""The sample data beside the repository, which others made: it reads, and it means what its layout says."""

import numpy as np
import pytest

from c2f_ros.sources.opening import open_source

SAMPLES = [
    ("real_video/giraffe", "folder", 25, (360, 640)),
    ("real_video/person", "folder", 25, (400, 640)),
    ("movid_a_sample", "movid", 24, (256, 256)),
    ("drive_sample/0041", "kins", 40, (188, 621)),
    ("cocoa/2.json", "cocoa", 1, (427, 640)),
]


@pytest.mark.parametrize(("name", "kind", "count", "size"), SAMPLES)
def test_a_sample_reads(name, kind, count, size, shared_dir):
    source = open_source(shared_dir / "data" / name, "auto", "0", 10.0)
    assert source.kind == kind
    frames = list(source.frames)
    assert len(frames) == count
    for frame in frames:
        assert frame.rgb.shape == (*size, 3) and frame.labels.shape == size
        assert set(np.unique(frame.labels)) - {0} <= frame.objects.keys()
        for identity, item in frame.objects.items():
            if item.amodal is not None:
                assert not ((frame.labels == identity) & ~item.amodal.full(*size)).any()


def test_the_photograph_of_two_phones_has_one_hidden_part(shared_dir):
    (frame,) = open_source(shared_dir / "data" / "cocoa" / "1.json", "auto", "0", 10.0).frames
    hidden = {k: item.amodal.area - int((frame.labels == k).sum()) for k, item in frame.objects.items()}
    assert [item.class_id for item in frame.objects.values()] == ["phone", "phone"]
    assert hidden[1] < 100 and 0.33 < hidden[2] / frame.objects[2].amodal.area < 0.35
