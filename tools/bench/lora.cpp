// What LoRAs cost: the branch beside a linear in each forward, and making it ready from its file once.
#include <ATen/ATen.h>

#include <filesystem>

#include "models/files/scratch_folder.h"
#include "models/weights/branch.h"
#include "models/weights/format/safetensors.h"
#include "models/weights/lora/attach.h"
#include "tools/bench/ops.h"

namespace wan::bench {
namespace {

constexpr int64_t kRank = 64;

struct Shape {
  const char* name;
  int64_t in, out;
};

std::vector<Shape> shapes(const WanConfig& c) {
  return {{"o", c.dim, c.dim}, {"ffn up", c.dim, c.ffn_dim}, {"ffn down", c.ffn_dim, c.dim}};
}

/// The branch alone, added to a product that is there.
Contest branch(const Site& site, const Shape& shape, int64_t tokens) {
  const double size = double(at::elementSize(site.dtype));
  std::vector<Tensor> x(rotation(size * double(tokens * (shape.in + shape.out))));
  for (Tensor& one : x) one = site.randn({tokens, shape.in});
  const Tensor down = site.randn({kRank, shape.in}) * 0.02, up = site.randn({shape.out, kRank}) * 0.1;
  const Tensor y = at::zeros({tokens, shape.out}, site.options());
  lora::Branch branch;
  branch.down = down;
  branch.parts.push_back({0, 0, up, {}});
  const Tensor rows = sampled_rows(tokens, site.device);
  const auto wide = [](const Tensor& values) { return values.to(at::kDouble); };
  const Tensor want = at::linear(at::linear(wide(x[0].index_select(0, rows)), wide(down)), wide(up));
  Contest contest{.flops = 2 * double(tokens) * branch.products(),
                  .bytes = size * double(tokens * (shape.in + 2 * kRank + 2 * shape.out)) + double(branch.bytes()),
                  .ceiling = "bf16",
                  .sets = x.size(),
                  .error = [rows, want](const Tensor& out) { return relative_l2(out.index_select(0, rows), want); },
                  .bound = 2e-2,
                  .contestants = {}};
  contest.contestants.push_back({"lora::added", true,
                                 [=](size_t set) { return lora::added(at::zeros_like(y), x[set], branch); },
                                 "with filling y, rank 64"});
  return contest;
}

/// From a file in halves, that is in the page cache, to a branch on the device.
Contest ready(const Site& site, const Shape& shape) {
  const std::string name = "blocks.0.ffn.0.weight";
  const auto folder = std::make_shared<ScratchFolder>();
  const std::filesystem::path file = folder->path / "lora.safetensors";
  const Tensor down = at::randn({kRank, shape.in}) * 0.02, up = at::randn({shape.out, kRank}) * 0.1;
  write_safetensors(file, {{"diffusion_model.blocks.0.ffn.0.lora_down.weight", down.to(at::kHalf)},
                           {"diffusion_model.blocks.0.ffn.0.lora_up.weight", up.to(at::kHalf)},
                           {"diffusion_model.blocks.0.ffn.0.alpha", at::tensor(8.0f)}});
  const std::vector<int64_t> sizes = {shape.out, shape.in};
  const Checkpoint base = Checkpoint::names_only(
      {{name, {.dtype = at::kBFloat16, .shape = sizes, .strides = row_major_strides(sizes), .file = nullptr}}}, "base");
  const auto lora = std::make_shared<const lora::File>(lora::File::open(file, base.tensors(), {}));
  Place place = Place::on(site.device, site.dtype);
  const auto weights = std::make_shared<std::vector<Weight>>();
  weights->push_back(Weight({{name, sizes}}, Role::Block, {.linear = true}, place.planned(),
                            {StoredPart(at::empty(sizes, at::TensorOptions(at::kBFloat16).device(at::kMeta)))}));
  Contest contest{.flops = 0,
                  .bytes = 2.0 * 2 * double(kRank * (shape.in + shape.out)),
                  .ceiling = "copy",
                  .sets = 1,
                  .error = [want = (up * 0.125).to(site.device)](const Tensor& out) { return relative_l2(out, want); },
                  .bound = 1e-2,
                  .contestants = {}};
  contest.contestants.push_back({"lora::attach", true,
                                 [=](size_t) {
                                   lora::attach(*weights, {{lora, 1}}, base);
                                   return weights->front().branch()->parts.at(0).up;
                                 },
                                 "one linear, rank 64; a file has 400", [folder](const Tensor& up) { return up; }});
  return contest;
}

}  // namespace

std::vector<Plan> lora_plans(const Site& site) {
  std::vector<Plan> plans;
  for (const Shape& shape : shapes(site.config)) {
    const std::string sizes = std::to_string(shape.in) + " to " + std::to_string(shape.out);
    plans.push_back({"ops", std::string("lora ready ") + shape.name, sizes, [=] { return ready(site, shape); }});
    for (const Resolution& at : site.resolutions)
      plans.push_back({"ops", std::string("lora branch ") + shape.name, at.shape(),
                       [=] { return branch(site, shape, at.tokens()); }});
  }
  return plans;
}

}  // namespace wan::bench
