#include "tests/small_checkpoint.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "models/weights/format/safetensors.h"
#include "tests/sparse_checkpoint.h"

namespace wan {

std::map<std::string, at::Tensor> small_weights(const std::string& published, const std::map<int64_t, int64_t>& sizes,
                                                const std::function<bool(const std::string&)>& keep, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, stored] : published_tensors(published)) {
    if (!keep(name)) continue;
    std::vector<int64_t> shape = stored.shape;
    for (int64_t& size : shape)
      if (auto found = sizes.find(size); found != sizes.end()) size = found->second;
    at::Tensor values = at::randn(shape, generator, at::kFloat);
    const bool vector = shape.size() < 2;
    const bool norm = vector && name.find("norm") != std::string::npos && name.ends_with("weight");
    const double fan_in = vector ? 100 : double(values.numel()) / double(shape[0]);
    tensors[name] = values / std::sqrt(std::max(fan_in, 1.0)) + (norm ? 1 : 0);
  }
  return tensors;
}

Checkpoint small_checkpoint(const std::filesystem::path& file, const std::map<std::string, at::Tensor>& tensors) {
  write_safetensors(file, tensors);
  return Checkpoint::open(file);
}

}  // namespace wan
