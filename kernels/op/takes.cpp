#include "kernels/op/takes.h"

#include "kernels/op/launch.h"

namespace wan::kernels {

bool is_half(at::ScalarType dtype) {
  return dtype == at::kBFloat16 || dtype == at::kHalf;
}

bool takes_dtype(at::ScalarType dtype) {
  return dtype == at::kFloat || is_half(dtype);
}

bool takes_row(int64_t channels, at::ScalarType dtype) {
  return takes_dtype(dtype) && channels >= 1 && channels <= kMaxRowChannels;
}

}  // namespace wan::kernels
