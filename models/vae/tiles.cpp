#include "models/vae/tiles.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace wan::vae {
namespace {

void move_to(std::vector<Tensor>& tensors, at::Device device) {
  for (Tensor& tensor : tensors)
    if (tensor.defined()) tensor = tensor.to(device);
}

}  // namespace

TiledStage::TiledStage(Slots slots, Halo halo, int64_t rows) : slots_(slots), halo_(halo), rows_(rows) {
  constexpr int64_t kStep = 2 * kernels::kRowsOfAConvolution;
  TORCH_CHECK(rows > 0 && rows % kStep == 0, "[vae] the rows of a tile must be a multiple of ", kStep, ", got ", rows);
}

Tensor TiledStage::tile(size_t number, Tensor slab, FrameCache& cache, const Stage& stage) {
  move_to(on_host_[number], slab.device());
  cache.put(slots_, std::move(on_host_[number]));
  Tensor y = stage(std::move(slab), cache);
  on_host_[number] = cache.take(slots_);
  move_to(on_host_[number], at::kCPU);
  return y;
}

Tensor TiledStage::operator()(Tensor x, FrameCache& cache, const Stage& stage) {
  const int64_t height = x.size(1), count = (height + rows_ - 1) / rows_;
  on_host_.resize(size_t(count));
  if (count == 1) return tile(0, std::move(x), cache, stage);
  Tensor whole;
  for (int64_t number = 0; number < count; ++number) {
    const int64_t first = number * rows_, end = std::min(first + rows_, height);
    const int64_t from = std::max<int64_t>(first - halo_.above, 0), to = std::min(end + halo_.below, height);
    const Tensor y = tile(size_t(number), x.narrow(1, from, to - from).contiguous(), cache, stage);
    const auto row = [&](int64_t of_input) { return of_input * y.size(1) / (to - from); };
    if (!whole.defined()) whole = at::empty({y.size(0), row(height), y.size(2), y.size(3)}, y.options());
    const int64_t rows = row(end) - row(first);
    whole.narrow(1, row(first), rows).copy_(y.narrow(1, row(first) - row(from), rows));
  }
  return whole;
}

int64_t TiledStage::host_bytes() const {
  int64_t sum = 0;
  for (const std::vector<Tensor>& tile : on_host_)
    for (const Tensor& slot : tile) sum += slot.defined() ? int64_t(slot.nbytes()) : 0;
  return sum;
}

}  // namespace wan::vae
