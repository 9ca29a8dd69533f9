// What the tests of the kernel sources share: tensors as a kernel's arguments, run through the SIMT shim on the CPU.
#pragma once

#include "kernels/op/launch.h"
#include "kernels/op/options.h"
#include "kernels/simt/dispatch.h"
#include "tests/support.h"

namespace wan::kernels {

using at::Tensor;

/// A storage type, and how far a result that was rounded to it once may lie from float64 (relative RMS).
/// bfloat16 rounding alone is 1.66e-3, half 2.1e-4; float32 has sums in another order. Of a few elements all may be
/// rounded by half a unit.
struct Storage {
  at::ScalarType dtype;
  Element element;
  double typical, half_unit;
  double tolerance(int64_t elements) const { return elements < 1000 ? half_unit : typical; }
};
inline constexpr Storage kStorages[] = {{at::kFloat, Element::Float, 2e-6, 4e-6},
                                        {at::kBFloat16, Element::BFloat16, 2e-3, 4e-3},
                                        {at::kHalf, Element::Half, 3e-4, 5e-4}};
inline constexpr simt::Order kOrders[] = {simt::Order::Forward, simt::Order::Reverse};
/// Those in which a kernel with these instructions is run.
inline std::vector<simt::Order> orders_of(Instructions instructions) {
  if (instructions == Instructions::Mma) return {kOrders[0], kOrders[1]};
  return {kOrders[0], kOrders[1], simt::Order::Shuffled};
}

// Two kernels for one operation have one test.
inline std::string name_of_instructions(const testing::TestParamInfo<Instructions>& info) {
  return info.param == Instructions::Mma ? "Mma" : "Wgmma";
}

/// What two stages of 64 keys have been around with; Hopper's four of 128 take more.
inline constexpr int64_t kThreeTiles = 193;

/// An output full of NaN: what the kernel forgets to write shows.
inline Tensor poisoned(at::IntArrayRef shape, at::ScalarType dtype) {
  return at::full(shape, std::numeric_limits<double>::quiet_NaN(), dtype);
}

inline const float* floats(const Tensor& x) {
  return x.defined() ? x.const_data_ptr<float>() : nullptr;
}

}  // namespace wan::kernels
