#include "tests/fuzz/answer.h"

#include <ATen/ATen.h>

#include <stdexcept>

namespace wan::fuzz {

void read_values(const Checkpoint& checkpoint) {
  constexpr int64_t kLargest = 1 << 16;
  for (const auto& [name, tensor] : checkpoint.tensors())
    if (tensor.elements() <= kLargest)
      answer([&, &name = name, &tensor = tensor] {
        const at::Tensor values = checkpoint.map(name);
        if (values.sizes() != at::IntArrayRef(tensor.shape))
          throw std::logic_error("[" + name + "] must have the shape that its header says");
        static_cast<void>(values.to(at::kFloat).sum().item<float>());
        static_cast<void>(checkpoint.coded(name));
      });
}

}  // namespace wan::fuzz
