"""Gives tests a cache folder of their own, so that what they measure and build is not taken for the user's."""

import atexit
import os
import shutil
import tempfile

_folder = tempfile.mkdtemp(prefix="c2f_test_cache_")
os.environ["XDG_CACHE_HOME"] = _folder
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
