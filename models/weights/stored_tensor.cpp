#include "models/weights/stored_tensor.h"

#include <algorithm>

namespace wan {

int64_t StoredTensor::elements() const {
  int64_t product = 1;
  for (int64_t size : shape) product *= size;
  return product;
}

uint64_t StoredTensor::bytes() const {
  if (coding) return static_cast<uint64_t>(elements() / coding->elements * coding->bytes);
  return static_cast<uint64_t>(elements()) * c10::elementSize(dtype);
}

std::vector<int64_t> row_major_strides(at::IntArrayRef shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * std::max<int64_t>(shape[i], 1);
  return strides;
}

}  // namespace wan
