#include "models/names/shapes.h"

namespace wan::names {

int64_t axis(const StoredTensors& tensors, const std::string& name, size_t index) {
  const auto found = tensors.find(name);
  return found == tensors.end() || index >= found->second.shape.size() ? 0 : found->second.shape[index];
}

bool has(const StoredTensors& tensors, std::string_view path) {
  const std::string name(path), under = name + ".";
  const auto found = tensors.lower_bound(under);
  return (found != tensors.end() && found->first.starts_with(under)) || tensors.contains(name);
}

int64_t count(const StoredTensors& tensors, std::string_view path) {
  int64_t number = 0;
  while (has(tensors, std::string(path) + "." + std::to_string(number))) ++number;
  return number;
}

void add_leading_ones(StoredTensor& tensor, size_t rank) {
  while (tensor.shape.size() < rank) {
    const int64_t stride = tensor.shape.empty() ? 1 : tensor.shape[0] * tensor.strides[0];
    tensor.shape.insert(tensor.shape.begin(), 1);
    tensor.strides.insert(tensor.strides.begin(), stride);
  }
}

void split_first_axis(StoredTensor& tensor, int64_t size) {
  const int64_t rest = tensor.shape[0] / size, stride = tensor.strides[0];
  tensor.shape[0] = rest;
  tensor.shape.insert(tensor.shape.begin(), size);
  tensor.strides.insert(tensor.strides.begin(), rest * stride);
}

}  // namespace wan::names
