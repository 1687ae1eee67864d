"""Shadows fall where the sun is hidden."""

import numpy as np

from c2f_train.synth.appearance import Light
from c2f_train.synth.mesh import box
from c2f_train.synth.shadow import CONTACT_SIDE, cast_shadows, sunlit

BLOCK = box(1.0, 1.0, 2.0)
WHITE = np.ones(3, np.float32)


def lit(towards: list[float], x: float, y: float, z: float = 0.0) -> float:
    sun = np.array(towards, np.float32) / np.linalg.norm(towards).astype(np.float32)
    shadows = cast_shadows(BLOCK.vertices, BLOCK.triangles, Light(sun, WHITE, WHITE, WHITE))
    return sunlit(x, y, z, shadows.to_map, shadows.depth, 0.01)


def test_a_block_throws_its_shadow_away_from_the_sun():
    # The sun stands 45 degrees high over +x: the shadow of a block 2 high reaches from x = -0.5 to -2.5.
    assert lit([1, 0, 1], -1.5, 0.0) == 0.0
    assert lit([1, 0, 1], -2.3, 0.3) == 0.0
    assert lit([1, 0, 1], -2.7, 0.0) == 1.0
    assert lit([1, 0, 1], -1.5, 0.7) == 1.0
    assert lit([1, 0, 1], 1.5, 0.0) == 1.0


def test_the_edge_of_a_shadow_is_soft_and_the_sunny_side_is_lit():
    assert 0.0 < lit([1, 0, 1], -2.5, 0.0) < 1.0
    assert lit([1, 0, 1], 0.52, 0.0, 1.0) == 1.0
    assert lit([1, 0, 1], -0.52, 0.0, 1.0) == 0.0


def test_contact_shadow_darkens_the_ground_under_and_beside_the_block():
    sun = np.array([0.6, 0.0, 0.8], np.float32)
    contact = cast_shadows(BLOCK.vertices, BLOCK.triangles, Light(sun, WHITE, WHITE, WHITE)).contact[..., 0]
    middle = CONTACT_SIDE // 2
    assert contact[middle, middle] < 0.4 < contact[0, 0]
    assert contact[0, 0] > 0.99
