#include "tools/bench/counted_work.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <torch/library.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <vector>

namespace wan::bench {
namespace {

using at::Tensor;

/// Bytes of a tensor; of an expanded one those that lie in memory.
double bytes_of(const Tensor& x) {
  int64_t values = 1;
  for (int64_t axis = 0; axis < x.dim(); ++axis)
    if (x.stride(axis) != 0 || x.size(axis) == 0) values *= x.size(axis);
  return double(values) * double(x.element_size());
}

/// Those among the values of an operation, in lists, too.
std::vector<Tensor> tensors_of(const auto& values) {
  std::vector<Tensor> tensors;
  const auto add = [&](const Tensor& x) {
    if (x.defined()) tensors.push_back(x);
  };
  for (const c10::IValue& value : values) {
    if (value.isTensor()) {
      add(value.toTensor());
    } else if (value.isTensorList()) {
      for (const Tensor& x : value.toTensorVector()) add(x);
    }
  }
  return tensors;
}

bool share_memory(const Tensor& a, const Tensor& b) {
  return a.unsafeGetTensorImpl()->unsafe_storage().unsafeGetStorageImpl() ==
         b.unsafeGetTensorImpl()->unsafe_storage().unsafeGetStorageImpl();
}

/// One operation, while it runs.
struct Opened : at::ObserverContext {
  std::vector<Tensor> inputs;
};

class Counter {
 public:
  Counter() {
    current_ = this;
    handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(begin, end)
                                             .needsInputs(true)
                                             .needsOutputs(true)
                                             .scopes({at::RecordScope::FUNCTION}));
  }
  ~Counter() {
    at::removeCallback(handle_);
    current_ = nullptr;
  }
  Counter(const Counter&) = delete;

  CountedWork work;

 private:
  /// Of operations those count that no other one is made of.
  static std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& function) {
    auto opened = std::make_unique<Opened>();
    if (current_->depth_++ == 0) opened->inputs = tensors_of(function.inputs());
    return opened;
  }
  static void end(const at::RecordFunction& function, at::ObserverContext* opened) {
    if (--current_->depth_ == 0)
      current_->add(function.name(), static_cast<Opened*>(opened)->inputs, tensors_of(function.outputs()));
  }

  void add(std::string_view name, const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs) {
    if (name.starts_with("aten::")) name.remove_prefix(6);
    if (name.starts_with("empty") || name == "new_empty" || outputs.empty()) return;
    const auto is_input = [&](const Tensor& x) {
      return std::any_of(inputs.begin(), inputs.end(), [&](const Tensor& input) { return share_memory(input, x); });
    };
    const bool overwrites = name == "copy_" || name == "fill_" || name == "zero_";
    const bool in_place = name.ends_with("_") || name.ends_with("_out") || name.ends_with(".out");
    if (!in_place && std::all_of(outputs.begin(), outputs.end(), is_input)) return;  // a view
    double bytes = 0;
    for (const Tensor& output : outputs) bytes += bytes_of(output);
    for (const Tensor& input : inputs)
      if (!(overwrites && share_memory(input, outputs[0])))
        bytes += name == "index_select" ? std::min(bytes_of(input), bytes_of(outputs[0])) : bytes_of(input);
    work.bytes += bytes;
    ++work.operations;
    const double results = double(outputs[0].numel());
    if (name == "conv2d" || name == "convolution")
      work.flops += 2 * results * double(inputs[1].numel() / inputs[1].size(0));
    else if (name == "addmm")
      work.flops += 2 * results * double(inputs[1].size(1));
  }

  static thread_local Counter* current_;
  at::CallbackHandle handle_ = 0;
  int depth_ = 0;
};

thread_local Counter* Counter::current_ = nullptr;

// What libtorch knows on the meta device in Python alone.

Tensor meta_convolution(const Tensor& x, const Tensor& weight, const std::optional<Tensor>&, at::IntArrayRef stride,
                        at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed, at::IntArrayRef, int64_t) {
  TORCH_CHECK(x.dim() == 4 && !transposed && dilation[0] == 1 && dilation.back() == 1,
              "[counted_work] has no such convolution of ", x.sizes());
  const auto length = [&](size_t axis) {
    return (x.size(int64_t(axis) + 2) + 2 * padding[axis] - weight.size(int64_t(axis) + 2)) / stride[axis] + 1;
  };
  return at::empty({x.size(0), weight.size(0), length(0), length(1)},
                   x.options().memory_format(at::MemoryFormat::ChannelsLast));
}
Tensor meta_grid_sampler_2d(const Tensor& x, const Tensor& grid, int64_t, int64_t, bool) {
  return at::empty({x.size(0), x.size(1), grid.size(1), grid.size(2)}, x.options());
}
Tensor meta_index_select(const Tensor& x, int64_t axis, const Tensor& index) {
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes[size_t(axis)] = index.numel();
  return at::empty(sizes, x.options());
}
Tensor meta_floor_divide(const Tensor& x, const Tensor&) {
  return at::empty_like(x);
}
Tensor& meta_nan_to_num(const Tensor&, std::optional<double>, std::optional<double>, std::optional<double>,
                        Tensor& out) {
  return out;
}

Tensor meta_isfinite(const Tensor& x) {
  return at::empty_like(x, x.options().dtype(at::kBool));
}

TORCH_LIBRARY_IMPL(aten, Meta, library) {
  library.impl("convolution", meta_convolution);
  library.impl("grid_sampler_2d", meta_grid_sampler_2d);
  library.impl("index_select", meta_index_select);
  library.impl("floor_divide", meta_floor_divide);
  library.impl("isfinite", meta_isfinite);
  library.impl("nan_to_num.out", meta_nan_to_num);
}

}  // namespace

CountedWork CountedWork::operator+(const CountedWork& other) const {
  return {flops + other.flops, bytes + other.bytes, operations + other.operations};
}
CountedWork CountedWork::operator*(double times) const {
  return {flops * times, bytes * times, int64_t(double(operations) * times)};
}

CountedWork counted_work(const std::function<void()>& work) {
  Counter counter;
  work();
  return counter.work;
}

}  // namespace wan::bench
