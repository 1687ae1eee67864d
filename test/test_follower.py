"""Where an object that is not seen is thought to be while the camera, and other objects, move."""

import pytest
from scenes import STEP_NS, UNIT, Thing, scene

from c2f_ros.contract import MASK_CHANNELS, CropSpec
from c2f_ros.follower import Follower
from c2f_ros.geometry import EMPTY_MASK, Box
from c2f_ros.motion import STILL

CROP = CropSpec("followed", 64, 2.0, 0.2)
CUP, BOX, JAR = ("cup", (60, 40, 84, 64), 1), ("box", (10, 30, 40, 70), 2), ("jar", (110, 20, 140, 60), 3)


def follow(frames) -> list[float]:
    """frames: per frame the things that are sent, as (name, box, look), and the pan. The columns, in units, in which
    the cup is thought to be."""
    follower, found = Follower(CROP, MASK_CHANNELS, 10.0), []
    for index, (things, pan) in enumerate(frames):
        paired = scene(index * STEP_NS, *(Thing(name, box, look=look) for name, box, look in things), pan=pan)
        visible = {i.upstream_id: i.visible for i in paired.instances.instances}
        follower.advance(paired.frame.pixels, "rgb8", paired.instances.labels, visible, paired.frame.stamp_ns)
        found.append(follower.place("cup").center[0] / UNIT)
    return found


def at(thing, dx):
    name, (x0, y0, x1, y1), look = thing
    return name, (x0 + dx, y0, x1 + dx, y1), look


def test_an_unseen_object_moves_along_when_the_camera_turns():
    """Everything stands for 4 frames, the cup vanishes, and then everything moves by 2 units a frame."""
    turned = [max(0, k - 4) * 2 for k in range(10)]
    frames = [([at(t, d) for t in ([CUP, BOX, JAR] if k < 4 else [BOX, JAR])], d) for k, d in enumerate(turned)]
    found = follow(frames)
    assert [x - found[0] for x in found] == pytest.approx(turned, abs=0.6)


@pytest.mark.parametrize("others", [[BOX], [BOX, JAR]])
def test_an_object_that_is_pushed_does_not_take_an_unseen_one_along(others):
    """The background stands; the box starts to move after the cup has vanished."""
    frames = []
    for k in range(10):
        pushed = [at(BOX, -max(0, k - 4)), *others[1:]]
        frames.append(([CUP, *others] if k < 4 else pushed, 0))
    found = follow(frames)
    assert found == pytest.approx([found[0]] * 10, abs=0.6)


def test_an_unseen_object_goes_on_as_it_went_under_a_camera_that_moves_all_the_time():
    """The background passes by 3 units a frame, near things by 1: their velocities stay their own."""
    frames = [([at(t, k) for t in ([CUP, BOX, JAR] if k < 5 else [BOX, JAR])], 3 * k) for k in range(9)]
    found = follow(frames)
    assert [x - found[0] for x in found] == pytest.approx(range(9), abs=0.8)


def sliver(follower, index, box=(60, 40, 64, 64)):
    """A frame in which a sliver of the cup is seen beside the box that hides the rest."""
    paired = scene(index * STEP_NS, Thing("cup", box, look=1), Thing("box", (64, 30, 100, 70), look=2))
    visible = {i.upstream_id: i.visible for i in paired.instances.instances}
    follower.advance(paired.frame.pixels, "rgb8", paired.instances.labels, visible, paired.frame.stamp_ns)
    return paired.frame


def test_the_next_crops_contain_what_a_model_takes_for_the_whole():
    follower = Follower(CropSpec("followed", 64, 1.0, 0.0), MASK_CHANNELS, 10.0)
    frame = sliver(follower, 0)
    before = follower.cut(frame.pixels, "rgb8", ["cup"])["cup"]
    whole = Box(*(UNIT * v for v in (60, 20, 100, 80)))
    assert before.box.x1 < whole.x1
    follower.believe("cup", whole, before.anchor)
    frame = sliver(follower, 1)
    after = follower.cut(frame.pixels, "rgb8", ["cup"])["cup"].box
    assert after.intersect(whole) == whole
    assert after.width == pytest.approx(1.3 * whole.height, abs=2)


def test_an_empty_prediction_and_one_of_an_object_that_is_not_followed_say_nothing():
    follower = Follower(CropSpec("followed", 64, 1.0, 0.0), MASK_CHANNELS, 10.0)
    sliver(follower, 0)
    before = follower.crop_box("cup")
    follower.believe("cup", EMPTY_MASK.box, STILL)
    follower.believe("nobody", Box(0, 0, 9, 9), STILL)
    assert follower.crop_box("cup") == before


def test_what_was_believed_of_an_object_ends_with_it():
    follower = Follower(CropSpec("followed", 64, 1.0, 0.0), MASK_CHANNELS, 10.0)
    sliver(follower, 0)
    before = follower.crop_box("cup")
    follower.believe("cup", Box(0, 0, 200, 200), STILL)
    follower.forget("cup")
    sliver(follower, 1)
    assert follower.crop_box("cup") == before
