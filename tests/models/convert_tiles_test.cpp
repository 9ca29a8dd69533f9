// Tensors of more than one tile (8 MB of float32), which a conversion works on one after another.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "models/weights/convert/convert.h"
#include "models/weights/format/safetensors.h"
#include "tests/support.h"

namespace wan::convert {

namespace {

using Tensors = std::map<std::string, at::Tensor>;

constexpr int64_t kRows = 1100, kColumns = 2048;  // a tile has 1,024 rows
constexpr const char *kLinear = "blocks.0.ffn.2.weight", *kKept = "text_embedding.0.weight";

/// Values of which each tile has its own size; the largest ones are in the second.
at::Tensor two_sizes() {
  at::Tensor values = at::randn({kRows, kColumns});
  values.narrow(0, 1024, kRows - 1024).mul_(10);
  return values;
}

class ConvertTiles : public testing::Test {
 protected:
  ConvertTiles() {
    at::manual_seed(6);
    tensors = {{kLinear, two_sizes()}, {kKept, two_sizes()}};
    write_safetensors(folder / "in.safetensors", tensors);
  }
  Checkpoint run(Target target, const Options& options = {}) {
    const std::string out = folder / (target == Target::Q8_0 ? "out.gguf" : "out.safetensors");
    convert(Checkpoint::open(folder / "in.safetensors"), Model::TextExpert, target, out, "key", {}, options);
    return Checkpoint::open(out);
  }
  TemporaryFolder folder;
  Tensors tensors;
};

}  // namespace

TEST_F(ConvertTiles, EachIsCodedAtItsPlace) {
  const struct {
    Target target;
    double bound;  // as in convert_test.cpp; of fp8 the small values share the scale of the large ones
  } forms[] = {{Target::Bf16, 2e-3}, {Target::Fp8, 3.5e-2}, {Target::Int8, 1e-2}, {Target::Q8_0, 6e-3}};
  for (const auto& form : forms) {
    SCOPED_TRACE(int(form.target));
    const Checkpoint back = run(form.target);
    const at::Tensor got = back.map(kLinear), want = tensors.at(kLinear);
    for (const auto& [first, rows] : {std::pair<int64_t, int64_t>{0, 1024}, {1024, kRows - 1024}})
      EXPECT_LT(relative_rms(got.narrow(0, first, rows), want.narrow(0, first, rows)), form.bound) << first;
    EXPECT_TRUE(back.map(kKept).equal(tensors.at(kKept)));
  }
}

TEST_F(ConvertTiles, LorasAreFoldedInAtTheirPlace) {
  // What keeps its form is merged in tiles of 32 MB, of 4,096 rows here.
  constexpr int64_t kLastRows = 104;
  tensors[kKept] = at::randn({4096 + kLastRows, kColumns});
  write_safetensors(folder / "in.safetensors", tensors);
  Tensors lora;
  for (const auto& [name, rows] :
       {std::pair<std::string, int64_t>{"blocks.0.ffn.2", kRows}, {"text_embedding.0", 4096 + kLastRows}}) {
    lora["diffusion_model." + name + ".lora_down.weight"] = at::randn({2, kColumns});
    lora["diffusion_model." + name + ".lora_up.weight"] = at::randn({rows, 2});
  }
  write_safetensors(folder / "lora.safetensors", lora);
  const lora::File file =
      lora::File::open(folder / "lora.safetensors", Checkpoint::open(folder / "in.safetensors").tensors(), {});
  const Checkpoint back = run(Target::Bf16, {.merges = {{&file, 0.5}}});
  for (const lora::Difference& difference : file.differences()) {
    const at::Tensor want = file.merged(tensors.at(difference.tensor), difference, 0.5);
    const at::Tensor got = back.map(difference.tensor);
    const bool kept = difference.tensor == kKept;
    // The first tile in part, and all of the second.
    const int64_t second = kept ? 4096 : 1024;
    for (const auto& [first, rows] : {std::pair<int64_t, int64_t>{0, 64}, {second, want.size(0) - second}})
      EXPECT_LT(relative_rms(got.narrow(0, first, rows), want.narrow(0, first, rows)), kept ? 1e-6 : 2e-3)
          << difference.tensor << " " << first;
  }
}

}  // namespace wan::convert
