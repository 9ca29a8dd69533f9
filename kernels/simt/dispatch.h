// From run-time types and widths to template instances. The same choice serves the launchers and the tests: `run` is
// StreamRunner there and HostRunner here, called as run(grid, block, dynamic bytes, kernel, arguments).
#pragma once

#include "kernels/op/launch.h"
#include "kernels/simt/simt.h"

namespace wan::simt {

template <typename T>
struct Type {
  using type = T;
};

/// choose(Type<T>) for the element's C++ type.
template <typename Choose>
auto with_element(kernels::Element element, Choose choose) {
  switch (element) {
    case kernels::Element::BFloat16:
      return choose(Type<bf16>{});
    case kernels::Element::Half:
      return choose(Type<__half>{});
    default:
      return choose(Type<float>{});
  }
}

/// kPack neighbouring channels move together, kSteps times.
template <int kPack_, int kSteps_>
struct Tile {
  static constexpr int kPack = kPack_, kSteps = kSteps_;
};

#ifdef __CUDACC__

/// Puts the kernel on a stream.
struct StreamRunner {
  cudaStream_t stream;
  template <typename Kernel, typename Arguments>
  cudaError_t operator()(dim3 grid, dim3 block, int dynamic_bytes, Kernel* kernel, const Arguments& arguments) const {
    constexpr int kWithoutAsking = 47 << 10;  // of 48 KiB: a kernel's static shared memory counts as well
    if (dynamic_bytes > kWithoutAsking) {
      const cudaError_t status =
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, dynamic_bytes);
      if (status != cudaSuccess) return status;
    }
    kernel<<<grid, block, dynamic_bytes, stream>>>(arguments);
    return cudaGetLastError();
  }
};

#else

/// Executes the kernel here and now.
struct HostRunner {
  Order order = Order::Forward;
  template <typename Kernel, typename Arguments>
  cudaError_t operator()(dim3 grid, dim3 block, int dynamic_bytes, Kernel* kernel, const Arguments& arguments) const {
    launch(
        grid, block, dynamic_bytes, [&] { kernel(arguments); }, order);
    return cudaSuccess;
  }
};

#endif

}  // namespace wan::simt
