"""Primitives and shape families."""

import numpy as np
import pytest

from c2f_train.synth.mesh import (
    Mesh,
    box,
    corner_normals,
    ellipsoid,
    extrude,
    join,
    lathe,
    normalized,
    torus,
    triangulate,
)
from c2f_train.synth.shapes import FAMILIES, FAMILY_SETS, HELD_OUT_FAMILIES, family_names


def volume(mesh: Mesh) -> float:
    """Enclosed volume, positive where triangles run counter-clockwise seen from outside."""
    a, b, c = (mesh.vertices[mesh.triangles[:, k]].astype(np.float64) for k in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def test_primitives_enclose_their_volume_with_outward_triangles():
    assert volume(box(2, 3, 4)) == pytest.approx(24)
    assert volume(ellipsoid(1, 2, 0.5, rows=41, sides=80)) == pytest.approx(4 / 3 * np.pi, rel=0.01)
    assert volume(lathe([(0, 0), (1, 0), (1, 2), (0, 2)], 90)) == pytest.approx(2 * np.pi, rel=0.01)
    assert (volume(torus(2, 0.5, 90))) == pytest.approx(2 * np.pi**2 * 2 * 0.25, rel=0.06)
    assert (volume(extrude([(0, 0), (2, 0), (2, 1), (1, 1), (1, 3), (0, 3)], 0.5))) == pytest.approx(2.0)


@pytest.mark.parametrize("turn", [1, -1])
def test_triangulation_fills_a_polygon_that_is_not_convex(turn):
    outline = np.array([(0, 0), (4, 0), (4, 4), (3, 4), (3, 1), (1, 1), (1, 4), (0, 4)], float)[::turn]
    a, b, c = (outline[triangulate(outline)[:, k]] for k in range(3))
    areas = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    assert (areas > 0).all() and areas.sum() == pytest.approx(10)


def test_normals_are_flat_on_a_box_and_round_on_a_sphere():
    cube = box(2, 2, 2)
    normals = corner_normals(cube.vertices, cube.triangles, 0.7)
    np.testing.assert_allclose(np.sort(np.abs(normals), -1), np.broadcast_to([0, 0, 1], normals.shape), atol=1e-6)
    ball = ellipsoid(1, 1, 1, rows=25, sides=48)
    normals = corner_normals(ball.vertices, ball.triangles, 0.7)
    corners = ball.vertices[ball.triangles]
    across = np.abs(corners[..., 2]) < 0.9
    assert ((normals * corners).sum(-1)[across] > 0.99).all()


def test_join_keeps_parts_and_moves_indices():
    whole = join(box(1, 1, 1), box(1, 1, 1).painted(2))
    assert whole.vertices.shape == (16, 3) and whole.triangles.max() == 15
    np.testing.assert_array_equal(whole.parts, [0] * 12 + [2] * 12)


def test_a_mesh_refuses_wrong_shapes():
    with pytest.raises(ValueError, match="vertices have shape"):
        Mesh(np.zeros((3, 2), np.float32), np.zeros((1, 3), np.int32), np.zeros(1, np.uint8))
    with pytest.raises(ValueError, match="parts have shape"):
        Mesh(np.zeros((3, 3), np.float32), np.zeros((1, 3), np.int32), np.zeros(2, np.uint8))


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_builds_sound_meshes_of_random_proportions(name):
    meshes = [normalized(FAMILIES[name](np.random.default_rng(seed))) for seed in range(4)]
    for mesh in meshes:
        assert np.isfinite(mesh.vertices).all()
        assert mesh.triangles.min() >= 0 and mesh.triangles.max() < len(mesh.vertices)
        size = np.ptp(mesh.vertices, axis=0)
        assert size.max() == pytest.approx(1, abs=1e-5) and size.min() > 0.1
        assert mesh.vertices[:, 2].min() == pytest.approx(0, abs=1e-6)
        assert mesh.parts.max() <= 2
    same = normalized(FAMILIES[name](np.random.default_rng(0)))
    np.testing.assert_array_equal(same.vertices, meshes[0].vertices)
    assert any(mesh.vertices.shape != same.vertices.shape or (mesh.vertices != same.vertices).any() for mesh in meshes)


def test_held_out_families_are_apart_from_training_families():
    train, held_out = family_names("train"), family_names("held_out")
    assert set(held_out) == set(HELD_OUT_FAMILIES)
    assert not set(train) & set(held_out)
    assert sorted(train + held_out) == sorted(family_names("all")) == sorted(FAMILIES)
    assert len(FAMILIES) >= 34
    with pytest.raises(ValueError, match="expected one of train, held_out, all"):
        family_names("test")
    assert FAMILY_SETS == ("train", "held_out", "all")
