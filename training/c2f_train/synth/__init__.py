"""Synthetic clips with true amodal masks, drawn on a CPU.

shapes      families of objects: random proportions, one name each
mesh        triangles, and the primitives that shapes are made of
appearance  random materials, ground, sky and light
raster      one z-buffer per object: visible masks, full extents, who hides whom
shadow      what the sun does not reach
shade       colours of the visible triangles; pattern: stripes, spots, coats, brick
scene       a random cluster of objects; scene_config: its knobs
viewpoint   the camera: around the cluster, back and forth, shaky
living      groups of animals, people and thin things; skeleton (jointed figures), animals, people, coats, backdrop
movers      who moves along which path; moment: the scene at a frame
clip        the record and its file
movid_a     the same as a MOViD-A folder
kins        the same as a KINS folder
driving     a street seen from a moving car; driving_road (geometry and camera), driving_traffic (who moves how),
            driving_shapes and driving_people (road users), driving_street (what stands beside the road),
            driving_materials, driving_shade (looks), driving_view (masks of a moment)
generate    clips from seeds, sets of clips, the command line; options: its knobs
"""
