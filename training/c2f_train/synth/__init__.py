"""Synthetic clips with true amodal masks, drawn on a CPU.

shapes      families of objects: random proportions, one name each
mesh        triangles, and the primitives that shapes are made of
appearance  random materials, ground, sky and light
raster      one z-buffer per object: visible masks, full extents, who hides whom
shadow      what the sun does not reach
shade       colours of the visible triangles
scene       a random cluster of objects and the cameras around it
clip        the record and its file
movid_a     the same as a MOViD-A folder
generate    clips from seeds, sets of clips, the command line
"""
