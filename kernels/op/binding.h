// What the bindings share: tensors to a kernel's pointers, and a launch's status to an exception.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <cstdint>
#include <initializer_list>

#include "kernels/op/device.h"
#include "kernels/op/launch.h"
#include "kernels/op/takes.h"

namespace wan::kernels::cuda {

/// The kernels move up to 16 bytes at once.
inline bool is_aligned(const at::Tensor& x) {
  return reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 16 == 0;
}

/// True where the options allow a kernel and it may read these tensors (undefined ones aside) as plain aligned arrays on
/// x's device.
inline bool takes_arrays(const at::Tensor& x, std::initializer_list<at::Tensor> others, const Context& context) {
  if (!use_fused(x, context) || x.numel() == 0 || !x.is_contiguous() || !is_aligned(x)) return false;
  for (const at::Tensor& other : others) {
    if (other.defined() && (other.device() != x.device() || !other.is_contiguous() || !is_aligned(other))) return false;
  }
  return true;
}

/// A parameter as the kernels read it: float32, contiguous. Costs nothing where it is that already.
inline at::Tensor as_floats(const at::Tensor& parameter) {
  return parameter.defined() ? parameter.to(at::kFloat).contiguous() : parameter;
}

inline const float* floats(const at::Tensor& x) {
  return x.defined() ? x.const_data_ptr<float>() : nullptr;
}

inline Element element_of(at::ScalarType dtype) {
  TORCH_INTERNAL_ASSERT(takes_dtype(dtype));
  return dtype == at::kFloat ? Element::Float : dtype == at::kHalf ? Element::Half : Element::BFloat16;
}

/// launch(stream) on x's device and its current stream. Throws c10::Error with CUDA's message.
template <typename Launch>
void launch_on(const at::Tensor& x, Launch launch) {
  const c10::cuda::CUDAGuard guard(x.device());
  C10_CUDA_CHECK(launch(c10::cuda::getCurrentCUDAStream().stream()));
}

}  // namespace wan::kernels::cuda
