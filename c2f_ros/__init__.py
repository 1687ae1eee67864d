"""Amodal instance masks for ROS 2: the runtime.

This file imports none of our modules, so that `c2f_ros.contract` and `c2f_ros.geometry` cost nothing to import where
there is no ROS. The generated messages, `c2f_ros.msg`, exist only where the package was built; the two lines below
let them be found there while the modules themselves are imported from a checkout.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
