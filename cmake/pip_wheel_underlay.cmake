# Makes a ROS 2 that came as PyPI wheels usable as an underlay; does nothing where ROS 2 came from apt.
#
# The wheels' CMake targets export include paths of the machine that built them (/opt/python/cp311-cp311/...). CMake
# refuses imported targets with include paths that do not exist, so these are dropped, after everything is found.
function(_c2f_drop_absent_include_paths)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(paths ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(paths)
      set(kept)
      foreach(path IN LISTS paths)
        if(NOT path MATCHES "^/opt/python/" OR EXISTS "${path}")
          list(APPEND kept "${path}")
        endif()
      endforeach()
      set_property(TARGET ${target} PROPERTY INTERFACE_INCLUDE_DIRECTORIES "${kept}")
    endif()
  endforeach()
endfunction()
cmake_language(DEFER CALL _c2f_drop_absent_include_paths)
