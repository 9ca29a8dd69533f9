# libtorch out of the PyPI wheel, as imported targets. In: TORCH_ROOT (site-packages/torch), WAN_TORCH_CUDA.
# find_package(Torch) wants the full CUDA toolkit even for a CPU build and sets global nvcc flags, so it is not used.
if(NOT EXISTS ${TORCH_ROOT}/version.py)
  message(FATAL_ERROR "TORCH_ROOT is '${TORCH_ROOT}', which holds no torch; './run build' sets everything up")
endif()
file(STRINGS ${TORCH_ROOT}/version.py _version REGEX "^__version__")
string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+[^']*" TORCH_VERSION "${_version}")
get_filename_component(TORCH_SITE ${TORCH_ROOT}/.. ABSOLUTE)

add_library(torch_headers INTERFACE IMPORTED)
target_include_directories(torch_headers SYSTEM INTERFACE
  ${TORCH_ROOT}/include ${TORCH_ROOT}/include/torch/csrc/api/include)
add_library(torch_cpu INTERFACE IMPORTED)
target_link_libraries(torch_cpu INTERFACE torch_headers
  ${TORCH_ROOT}/lib/libtorch_cpu.so ${TORCH_ROOT}/lib/libc10.so)
target_link_options(torch_cpu INTERFACE LINKER:--as-needed LINKER:--allow-shlib-undefined)

add_library(torch_all INTERFACE IMPORTED)
target_link_libraries(torch_all INTERFACE torch_cpu)
if(WAN_TORCH_CUDA)
  # libtorch_cuda registers itself when loaded; without --no-as-needed the linker drops it.
  target_link_libraries(torch_all INTERFACE
    -Wl,--no-as-needed ${TORCH_ROOT}/lib/libtorch_cuda.so ${TORCH_ROOT}/lib/libc10_cuda.so -Wl,--as-needed)
endif()
