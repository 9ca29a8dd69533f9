// What LoRAs cost: the branch beside a linear in each forward, and making it ready from its file once.
#include <ATen/ATen.h>

#include <filesystem>

#include "models/files/scratch_folder.h"
#include "models/weights/branch.h"
#include "models/weights/convert/rows.h"
#include "models/weights/format/safetensors.h"
#include "models/weights/lora/attach.h"
#include "models/weights/lora/row_merge.h"
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

constexpr int64_t kFirst = 16;  // rows and columns of LoKr's first factor

/// A branch of rank 64, or of a LoKr, and the matrix that it stands for, float64.
struct Beside {
  lora::Branch branch;
  Tensor whole;
};

Beside low_rank(const Site& site, const Shape& shape) {
  const Tensor down = site.randn({kRank, shape.in}) * 0.02, up = site.randn({shape.out, kRank}) * 0.1;
  lora::Branch branch;
  branch.down = down;
  branch.parts.push_back({.up = up});
  return {std::move(branch), up.to(at::kDouble).matmul(down.to(at::kDouble))};
}

Beside lokr(const Site& site, const Shape& shape) {
  const Tensor first = site.randn({kFirst, kFirst}) * 0.1,
               second = site.randn({shape.out / kFirst, shape.in / kFirst}) * 0.02;
  lora::Branch branch;
  branch.parts.push_back({.kronecker = lora::Kronecker{{first}, {second}}});
  return {std::move(branch), at::kron(first.to(at::kDouble), second.to(at::kDouble))};
}

/// The branch alone, added to a product that is there.
Contest branch(const Site& site, const Shape& shape, int64_t tokens, const Beside& beside, const char* note) {
  const double size = double(at::elementSize(site.dtype));
  std::vector<Tensor> x(rotation(size * double(tokens * (shape.in + shape.out))));
  for (Tensor& one : x) one = site.randn({tokens, shape.in});
  const Tensor y = at::zeros({tokens, shape.out}, site.options());
  const lora::Branch& branch = beside.branch;
  const Tensor rows = sampled_rows(tokens, site.device);
  const Tensor want = at::linear(x[0].index_select(0, rows).to(at::kDouble), beside.whole);
  Contest contest{.flops = 2 * double(tokens) * branch.products(),
                  .bytes = size * double(tokens * (shape.in + 2 * kRank + 2 * shape.out)) + double(branch.bytes()),
                  .ceiling = "bf16",
                  .sets = x.size(),
                  .error = [rows, want](const Tensor& out) { return relative_l2(out.index_select(0, rows), want); },
                  .bound = 2e-2,
                  .contestants = {}};
  contest.contestants.push_back(
      {"lora::added", true, [=](size_t set) { return lora::added(at::zeros_like(y), x[set], branch); }, note});
  return contest;
}

constexpr const char* kTensor = "blocks.0.ffn.0.weight";

/// What a file has for a linear.
enum class Of { LowRank, Dora, LoKr };

std::map<std::string, Tensor> factors_of(const Shape& shape, Of of) {
  const std::string module = "diffusion_model.blocks.0.ffn.0.";
  const auto halves = [](std::vector<int64_t> sizes, double size) { return (at::randn(sizes) * size).to(at::kHalf); };
  if (of == Of::LoKr)
    return {{module + "lokr_w1", halves({kFirst, kFirst}, 0.1)},
            {module + "lokr_w2", halves({shape.out / kFirst, shape.in / kFirst}, 0.02)}};
  std::map<std::string, Tensor> factors = {{module + "lora_down.weight", halves({kRank, shape.in}, 0.02)},
                                           {module + "lora_up.weight", halves({shape.out, kRank}, 0.1)},
                                           {module + "alpha", at::tensor(8.0f)}};
  if (of == Of::Dora) factors[module + "dora_scale"] = halves({shape.out, 1}, 0.1).abs() + 1;
  return factors;
}

/// A file in halves and the weight that it changes, both in the page cache.
struct Files {
  Files(const Shape& shape, Of of) {
    const std::filesystem::path file = folder.path / "lora.safetensors", weight = folder.path / "base.safetensors";
    write_safetensors(file, factors_of(shape, of));
    write_safetensors(weight, {{kTensor, (at::randn({shape.out, shape.in}) * 0.02).to(at::kBFloat16)}});
    base = Checkpoint::open(weight);
    lora = std::make_shared<const lora::File>(lora::File::open(file, base.tensors(), {}));
  }
  const lora::Difference& difference() const { return lora->differences().at(0); }
  lora::RowSource rows() const {
    return [weight = base.map(kTensor)](int64_t first, int64_t count) {
      return weight.narrow(0, first, count).to(at::kFloat);
    };
  }

  ScratchFolder folder;
  Checkpoint base;
  std::shared_ptr<const lora::File> lora;
};

/// From a file to a branch on the device.
Contest ready(const Site& site, const Shape& shape, Of of) {
  const auto files = std::make_shared<Files>(shape, of);
  const std::vector<int64_t> sizes = {shape.out, shape.in};
  Place place = Place::on(site.device, site.dtype);
  const auto weights = std::make_shared<std::vector<Weight>>();
  weights->push_back(Weight({{kTensor, sizes}}, Role::Block, {.linear = true}, place.planned(),
                            {StoredPart(at::empty(sizes, at::TensorOptions(at::kBFloat16).device(at::kMeta)))}));
  const lora::File& lora = *files->lora;
  const lora::Difference& difference = files->difference();
  Tensor want =
      of == Of::LoKr ? lora.kronecker(difference, 1).second.front() : lora.factors(difference, 1)->up.to(at::kDouble);
  if (of == Of::Dora) want = want * lora::RowMerge::dora_factors(lora, difference, 1, files->rows()).unsqueeze(1);
  Contest contest{.flops = 0,
                  .bytes = of == Of::LoKr ? 4.0 * double(shape.in * shape.out / kFirst / kFirst)
                                          : 4.0 * double(kRank * (shape.in + shape.out)) +
                                                (of == Of::Dora ? 2.0 * double(shape.in * shape.out) : 0),
                  .ceiling = "copy",
                  .sets = 1,
                  .error = [want = want.to(site.device)](const Tensor& out) { return relative_l2(out, want); },
                  .bound = 1e-2,
                  .contestants = {}};
  contest.contestants.push_back({"lora::attach", true,
                                 [=](size_t) {
                                   lora::attach(*weights, {{files->lora, 1}}, files->base);
                                   const lora::Branch::Part& part = weights->front().branch()->parts.at(0);
                                   return part.kronecker ? part.kronecker->second.front() : part.up;
                                 },
                                 "one linear, rank 64; a file has 400", [files](const Tensor& up) { return up; }});
  return contest;
}

/// Folded into a weight some rows at a time, as convert does.
Contest merge(const Shape& shape) {
  const auto files = std::make_shared<Files>(shape, Of::LowRank);
  const Tensor base = files->base.map(kTensor);
  const Tensor want = files->lora->merged(base, files->difference(), 1);
  Contest contest{.flops = 2.0 * double(kRank * shape.in * shape.out),
                  .bytes = 4.0 * double(shape.in * shape.out),
                  .ceiling = "bf16",
                  .sets = 1,
                  .error = [want](const Tensor& out) { return relative_l2(out, want); },
                  .bound = 1e-2,
                  .contestants = {}};
  const auto all = [=](size_t) {
    return convert::Rows(files->base, kTensor, {{files->lora.get(), 1}}).get(0, shape.out, at::kBFloat16);
  };
  contest.contestants.push_back({"convert::Rows", true, all, "one linear, rank 64; a file has 400"});
  return contest;
}

}  // namespace

std::vector<Plan> lora_plans(const Site& site) {
  std::vector<Plan> plans;
  for (const Shape& shape : shapes(site.config)) {
    const std::string sizes = std::to_string(shape.in) + " to " + std::to_string(shape.out);
    for (const auto& [name, of] :
         {std::pair("lora ready ", Of::LowRank), {"lora ready dora ", Of::Dora}, {"lora ready lokr ", Of::LoKr}})
      plans.push_back({"ops", std::string(name) + shape.name, sizes, [=, of = of] { return ready(site, shape, of); }});
    if (site.device.is_cpu())
      plans.push_back({"ops", std::string("lora merge ") + shape.name, sizes, [=] { return merge(shape); }});
    for (const Resolution& at : site.resolutions) {
      plans.push_back({"ops", std::string("lora branch ") + shape.name, at.shape(), [=] {
                         return branch(site, shape, at.tokens(), low_rank(site, shape), "with filling y, rank 64");
                       }});
      plans.push_back({"ops", std::string("lokr branch ") + shape.name, at.shape(), [=] {
                         return branch(site, shape, at.tokens(), lokr(site, shape), "with filling y, W1 16 x 16");
                       }});
    }
  }
  return plans;
}

}  // namespace wan::bench
