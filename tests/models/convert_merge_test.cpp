// LoRAs that are folded into a checkpoint while it is converted.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "models/files/error.h"
#include "models/weights/convert/convert.h"
#include "models/weights/format/safetensors.h"
#include "tests/support.h"
#include "tests/support/checkpoint_files.h"

namespace wan::convert {

namespace {

namespace fs = std::filesystem;
using Tensors = std::map<std::string, at::Tensor>;

constexpr const char* kQuery = "blocks.0.self_attn.q";

/// A block's linears in float32 and float16, and what has no linear; a LoRA of each, and a second one of the first linear.
class ConvertMerge : public testing::Test {
 protected:
  ConvertMerge() {
    at::manual_seed(8);
    base = {{std::string(kQuery) + ".weight", at::randn({128, 128})},
            {std::string(kQuery) + ".bias", at::randn({128})},
            {"blocks.0.ffn.2.weight", at::randn({128, 512}).to(at::kHalf)},
            {"blocks.0.modulation", at::randn({1, 6, 128})},
            {"blocks.1.self_attn.q.weight", at::randn({128, 128})},
            {"patch_embedding.weight", at::randn({128, 16, 1, 2, 2})}};
    write_safetensors(folder / "in.safetensors", base);
    const Tensors one = {{"diffusion_model.blocks.0.self_attn.q.lora_down.weight", at::randn({4, 128}) * 0.1},
                         {"diffusion_model.blocks.0.self_attn.q.lora_up.weight", at::randn({128, 4})},
                         {"diffusion_model.blocks.0.self_attn.q.alpha", at::tensor(2.0f)},
                         {"diffusion_model.blocks.0.self_attn.q.diff_b", at::randn({128})},
                         {"diffusion_model.blocks.0.ffn.2.lora_down.weight", at::randn({4, 512}) * 0.1},
                         {"diffusion_model.blocks.0.ffn.2.lora_up.weight", at::randn({128, 4})},
                         {"diffusion_model.blocks.0.diff_m", at::randn({1, 6, 128})},
                         {"diffusion_model.patch_embedding.diff", at::randn({128, 16, 1, 2, 2})}};
    write_safetensors(folder / "one.safetensors", one);
    write_safetensors(folder / "two.safetensors",
                      {{"lora_unet_blocks_0_self_attn_q.lora_down.weight", at::randn({2, 128}) * 0.1},
                       {"lora_unet_blocks_0_self_attn_q.lora_up.weight", at::randn({128, 2})}});
    for (const char* name : {"one", "two"})
      files.push_back(lora::File::open(folder / (name + std::string(".safetensors")),
                                       Checkpoint::open(folder / "in.safetensors").tensors(), {}));
  }
  std::vector<Merge> merges() const { return {{&files[0], 0.5}, {&files[1], -2}}; }
  Result run(Target target, const std::string& in, const std::string& out, bool keeps = false, const Step& step = {}) {
    Options options{.merges = merges()};
    if (keeps) options.changes = [](const std::string&) { return false; };
    return convert(Checkpoint::open(folder / in), Model::TextExpert, target, folder / out, "key", {.step = step}, options);
  }
  /// As File::merged has it, one file after the other.
  at::Tensor want(const std::string& name) const {
    at::Tensor value = base.at(name).to(at::kFloat);
    for (const Merge& merge : merges())
      for (const lora::Difference& difference : merge.file->differences())
        if (difference.tensor == name) value = merge.file->merged(value, difference, merge.strength);
    return value;
  }

  TemporaryFolder folder;
  Tensors base;
  std::vector<lora::File> files;
};

}  // namespace

TEST_F(ConvertMerge, FloatsKeepTheirTypeAndAreThoseOfMergedBitForBit) {
  const Result result = run(Target::Bf16, "in.safetensors", "out.safetensors", /*keeps=*/true);
  EXPECT_EQ(result.tensors, 6);
  const Checkpoint out = Checkpoint::open(folder / "out.safetensors");
  int changed = 0;
  for (const auto& [name, value] : base) {
    const at::Tensor got = out.map(name);
    EXPECT_EQ(got.scalar_type(), value.scalar_type()) << name;
    // A half is off by at most 2^-11 of its value; float32 arithmetic adds 1e-7.
    const double half = want(name).abs().max().item<double>() * (0x1p-11 + 1e-6);
    const bool exact = value.scalar_type() == at::kFloat;
    EXPECT_TRUE(exact ? got.equal(want(name)) : is_close(got.to(at::kFloat), want(name), half)) << name;
    changed += !got.equal(value);
  }
  EXPECT_EQ(changed, 5) << "all but blocks.1";
}

TEST_F(ConvertMerge, CodesAreWidenedMergedAndCodedAgain) {
  const struct {
    Target target;
    const char* out;
    double bound;  // relative L2: the form's error, twice where the source is coded, too
  } rows[] = {{Target::Fp8, "out.safetensors", 5e-2}, {Target::Int8, "out.safetensors", 1.5e-2}, {Target::Q8_0, "out.gguf", 1e-2},
              {Target::Bf16, "bf16.safetensors", 4e-3}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.out);
    convert(Checkpoint::open(folder / "in.safetensors"), Model::TextExpert, row.target, folder / ("coded-" + std::string(row.out)),
            "key", {});
    for (const std::string& in : {std::string("in.safetensors"), "coded-" + std::string(row.out)}) {
      run(row.target, in, row.out);
      const Checkpoint out = Checkpoint::open(folder / row.out);
      for (const std::string& name : {std::string(kQuery) + ".weight", std::string("blocks.0.ffn.2.weight")}) {
        const at::Tensor wanted = want(name), got = out.map(name).to(at::kFloat);
        EXPECT_LT((got - wanted).norm().item<double>() / wanted.norm().item<double>(), row.bound) << in << " " << name;
        EXPECT_GT((base.at(name).to(at::kFloat) - wanted).norm().item<double>() / wanted.norm().item<double>(), 0.1);
      }
      EXPECT_TRUE(out.map("blocks.0.modulation").equal(want("blocks.0.modulation")));
    }
  }
}

TEST_F(ConvertMerge, AnInterruptedRunIsGoneOnWith) {
  for (const char* out : {"whole.safetensors", "broken.safetensors"}) run(Target::Fp8, "in.safetensors", out);
  fs::remove(folder / "broken.safetensors");
  const auto stop = [](int64_t finished, int64_t) {
    if (finished == 3) throw std::runtime_error("stopped");
  };
  EXPECT_THROW(run(Target::Fp8, "in.safetensors", "broken.safetensors", false, stop), std::runtime_error);
  EXPECT_EQ(run(Target::Fp8, "in.safetensors", "broken.safetensors").resumed, 3);
  EXPECT_EQ(content_of(folder / "broken.safetensors"), content_of(folder / "whole.safetensors"));
}

TEST_F(ConvertMerge, ValuesThatOverflowAreRefusedByName) {
  files.clear();
  write_safetensors(folder / "huge.safetensors",
                    {{"blocks.0.self_attn.q.diff", at::full({128, 128}, 3e38f)}});
  files.push_back(lora::File::open(folder / "huge.safetensors", Checkpoint::open(folder / "in.safetensors").tensors(), {}));
  const Options options{.merges = {{&files[0], 4}}};
  try {
    convert(Checkpoint::open(folder / "in.safetensors"), Model::TextExpert, Target::Bf16, folder / "out.safetensors", "key",
            {}, options);
    FAIL();
  } catch (const ModelError& error) {
    EXPECT_NE(std::string(error.what()).find("blocks.0.self_attn.q.weight"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("take a smaller scale"), std::string::npos) << error.what();
  }
}

}  // namespace wan::convert
