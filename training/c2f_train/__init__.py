"""Training of the amodal completion models: data, networks, loops and export."""
