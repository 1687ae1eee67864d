"""The rasteriser against hand-made pictures and against ray casting. Images are never square: x is the column."""

import numpy as np
import pytest

from c2f_train.synth.mesh import Mesh, box, ellipsoid, join, make
from c2f_train.synth.raster import NEAR, Camera, Layers, look_at, raster_objects, resolve

HEIGHT, WIDTH = 40, 60


def camera_along_y(distance: float = 10.0, focal: float = 50.0) -> Camera:
    """A camera at y = -distance that looks along +y: world x is right, world z is up."""
    return look_at(np.array([0.0, -distance, 0.0]), np.zeros(3), focal, HEIGHT, WIDTH)


def draw(camera: Camera, *meshes: Mesh) -> Layers:
    whole = join(*meshes)
    starts = np.cumsum([0] + [len(mesh.triangles) for mesh in meshes]).astype(np.int32)
    return raster_objects(camera, whole.vertices, whole.triangles, starts)


def rectangle(x0: float, x1: float, z0: float, z1: float, y: float = 0.0) -> Mesh:
    """A rectangle across the view of camera_along_y."""
    return make([(x0, y, z0), (x1, y, z0), (x1, y, z1), (x0, y, z1)], [(0, 1, 2), (0, 2, 3)])


def rays(camera: Camera) -> np.ndarray:
    """Ray of each pixel centre in the camera frame, [H, W, 3]."""
    row, column = np.mgrid[0 : camera.height, 0 : camera.width]
    x = (column + 0.5 - camera.width / 2) / camera.focal
    y = (row + 0.5 - camera.height / 2) / camera.focal
    return np.stack([x, y, np.ones_like(x)], -1)


def cast(camera: Camera, mesh: Mesh) -> np.ndarray:
    """Depth [H, W] by solving ray = weights of corners for each pixel and triangle, one at a time."""
    depth = np.full((camera.height, camera.width), np.inf)
    points = camera.see(mesh.vertices)
    for corners in points[mesh.triangles]:
        if abs(np.linalg.det(corners)) < 1e-12:
            continue
        weights = rays(camera) @ np.linalg.inv(corners)
        with np.errstate(divide="ignore"):
            distance = 1.0 / weights.sum(-1)
        hit = (weights >= 0).all(-1) & (distance >= NEAR)
        depth = np.where(hit & (distance < depth), distance, depth)
    return depth


def test_rectangle_covers_the_expected_rows_and_columns():
    layers = draw(camera_along_y(), rectangle(-2.0, 1.0, -1.0, 0.6))
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[17:25, 20:35] = True  # column = 30 + 5 x, row = 20 - 5 z
    np.testing.assert_array_equal(np.isfinite(layers.depth[0]), expected)
    np.testing.assert_allclose(layers.depth[0][expected], 10.0)
    np.testing.assert_array_equal(layers.face[0] >= 0, expected)


def test_sphere_covers_the_pixels_whose_rays_meet_it():
    camera, radius = camera_along_y(5.0), 1.2
    sphere = ellipsoid(radius, radius, radius, rows=61, sides=120).moved(0.7, 0, -0.3)
    covered = np.isfinite(draw(camera, sphere).depth[0])
    ray, centre = rays(camera), camera.see(np.array([[0.7, 0.0, -0.3]]))[0]
    along = (ray @ centre) / (ray**2).sum(-1)
    miss = np.linalg.norm(along[..., None] * ray - centre, axis=-1)
    assert covered[miss < 0.995 * radius].all()
    assert not covered[miss > radius].any()
    rows, columns = np.nonzero(covered)
    assert columns.mean() > WIDTH / 2 and rows.mean() > HEIGHT / 2  # right of and below the middle


def test_no_pixel_is_lost_between_triangles_of_a_fan():
    rng = np.random.default_rng(0)
    for _ in range(20):
        middle = [*rng.uniform(-1, 1, 2)]
        fan = make(
            [(-2, 0, -1), (2, 0, -1), (2, 0, 1), (-2, 0, 1), (middle[0], 0, middle[1])],
            [(0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)],
        )
        assert (
            np.isfinite(draw(camera_along_y(7.3), fan).depth).sum()
            == np.isfinite(draw(camera_along_y(7.3), rectangle(-2, 2, -1, 1)).depth).sum()
        )


def test_plane_through_the_camera_is_clipped_at_the_near_distance():
    floor = make([(-3.01, -30, -1), (3.01, -30, -1), (3.01, 40, -1), (-3.01, 40, -1)], [(0, 1, 2), (0, 2, 3)])
    camera = look_at(np.zeros(3), np.array([0.0, 1.0, 0.0]), 30.0, HEIGHT, WIDTH)
    depth = draw(camera, floor).depth[0]
    ray = rays(camera)
    with np.errstate(divide="ignore"):
        distance = 1.0 / ray[..., 1]
    expected = (distance > 0) & (distance >= NEAR) & (distance <= 40) & (np.abs(ray[..., 0] * distance) <= 3.01)
    np.testing.assert_array_equal(np.isfinite(depth), expected)
    np.testing.assert_allclose(depth[expected], distance[expected], rtol=1e-6)


def test_nothing_nearer_than_the_near_distance_is_drawn():
    layers = draw(camera_along_y(0.0 + NEAR / 2), rectangle(-1, 1, -1, 1))
    assert not np.isfinite(layers.depth).any()


@pytest.mark.parametrize("seed", range(3))
def test_depth_equals_ray_casting_also_for_triangles_around_the_camera(seed):
    rng = np.random.default_rng(seed)
    mesh = make(rng.uniform(-4, 4, (30, 3)) + np.array([0, 2, 0]), rng.permutation(30))
    camera = look_at(np.array([0.3, -1.5, 0.2]), np.array([0.1, 2.0, 0.4]), 22.0, HEIGHT, WIDTH)
    depth, expected = draw(camera, mesh).depth[0], cast(camera, mesh)
    assert (np.isfinite(depth) != np.isfinite(expected)).sum() == 0
    np.testing.assert_allclose(depth, expected, rtol=1e-5)


def test_labels_follow_depth_on_two_boxes():
    near = box(2.0, 1.0, 1.0).moved(-1.0, -2.0)  # front face at y = -2.5, depth 7.5
    far = box(3.0, 1.0, 2.0).moved(0.5, 2.0)  # front face at y = 1.5, depth 11.5
    masks = resolve(draw(camera_along_y(focal=45.0), far, near))
    expected_far, expected_near = np.zeros((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), bool)
    expected_near[14:20, 18:30] = True  # 30 + 6 x for x in -2..0, 20 - 6 z for z in 0..1
    expected_far[12:20, 26:38] = True  # 30 + 3.913 x for x in -1..2, 20 - 3.913 z for z in 0..2
    np.testing.assert_array_equal(masks.amodal, [expected_far, expected_near])
    np.testing.assert_array_equal(masks.labels, np.where(expected_near, 2, expected_far.astype(int)))
    np.testing.assert_array_equal(masks.hides, [[False, False], [True, False]])


def test_interlocking_objects_hide_each_other():
    tilted = make([(-2, -1, -1), (2, 1, -1), (2, 1, 1), (-2, -1, 1)], [(0, 1, 2), (0, 2, 3)])
    masks = resolve(draw(camera_along_y(), tilted, rectangle(-2, 2, -1, 1)))
    np.testing.assert_array_equal(masks.hides, [[False, True], [True, False]])
    assert (masks.labels[20, 20:30] == 1).all() and (masks.labels[20, 30:40] == 2).all()


def test_of_two_objects_at_one_depth_the_first_is_in_front():
    masks = resolve(draw(camera_along_y(), rectangle(-1, 1, -1, 1), rectangle(-1, 1, -1, 1)))
    np.testing.assert_array_equal(np.unique(masks.labels), [0, 1])
    np.testing.assert_array_equal(masks.hides, [[False, True], [False, False]])


def test_an_object_outside_the_image_has_no_pixel():
    masks = resolve(draw(camera_along_y(), rectangle(20, 22, -1, 1), rectangle(-1, 1, -1, 1, y=-30.0)))
    assert not masks.amodal.any() and not masks.labels.any() and not masks.hides.any()
    assert (masks.face == -1).all()
