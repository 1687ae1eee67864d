# Makes a ROS 2 that came as PyPI wheels usable as an underlay; does nothing where ROS 2 came from apt.
# Both corrections are made when everything is found and declared, just before CMake generates.
cmake_language(DEFER CALL _c2f_drop_absent_include_paths)
cmake_language(DEFER CALL _c2f_keep_checkout_out_of_exports)

# The wheels' CMake targets export include paths of the machine that built them (/opt/python/cp311-cp311/...), and
# CMake refuses imported targets with include paths that do not exist.
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

# A virtual environment inside the checkout (.venv) puts numpy's headers under the source folder, and CMake refuses to
# export targets that name such paths. They are needed while building only.
function(_c2f_keep_checkout_out_of_exports)
  get_property(targets DIRECTORY PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(paths ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(paths)
      set(marked)
      foreach(path IN LISTS paths)
        string(FIND "${path}" "${CMAKE_CURRENT_SOURCE_DIR}/" position)
        if(position EQUAL 0)
          set(path "$<BUILD_INTERFACE:${path}>")
        endif()
        list(APPEND marked "${path}")
      endforeach()
      set_property(TARGET ${target} PROPERTY INTERFACE_INCLUDE_DIRECTORIES "${marked}")
    endif()
  endforeach()
endfunction()
