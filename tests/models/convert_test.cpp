#include "models/weights/convert/convert.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "models/files/error.h"
#include "models/weights/format/safetensors.h"
#include "tests/support.h"
#include "tests/support/checkpoint_files.h"

namespace wan::convert {

namespace {

namespace fs = std::filesystem;
using Tensors = std::map<std::string, at::Tensor>;

/// Two blocks with a linear of each group, and one tensor of every other kind.
Tensors transformer() {
  at::manual_seed(5);
  Tensors tensors = {{"patch_embedding.weight", at::randn({128, 16, 1, 2, 2})},
                     {"time_projection.1.weight", at::randn({24, 128})},
                     {"head.modulation", at::randn({1, 2, 128})}};
  for (const char* block : {"blocks.0.", "blocks.1."}) {
    const std::string name(block);
    tensors[name + "self_attn.q.weight"] = at::randn({128, 128});
    tensors[name + "self_attn.q.bias"] = at::randn({128}).to(at::kHalf);
    tensors[name + "self_attn.norm_q.weight"] = at::randn({128});
    tensors[name + "cross_attn.o.weight"] = at::randn({40, 128}).to(at::kBFloat16);
    tensors[name + "ffn.2.weight"] = at::randn({128, 512}) * 3;
    tensors[name + "modulation"] = at::randn({1, 6, 128});
  }
  return tensors;
}

class Convert : public testing::Test {
 protected:
  Convert() { write_safetensors(folder / "in.safetensors", tensors); }
  Result run(Target target, const std::string& out, const std::string& key = "a", const Step& step = {}) {
    return convert(Checkpoint::open(folder / "in.safetensors"), Model::TextExpert, target, folder / out, key,
                   {.step = step});
  }
  TemporaryFolder folder;
  const Tensors tensors = transformer();
};

constexpr struct {
  Target target;
  const char* out;
  double bound;  // relative L2 of Gaussian values: steps of the form over sqrt(12)
} kForms[] = {{Target::Bf16, "out.safetensors", 2e-3},
              {Target::Fp8, "out.safetensors", 3.5e-2},
              {Target::Int8, "out.safetensors", 1e-2},
              {Target::Q8_0, "out.gguf", 6e-3}};

}  // namespace

TEST_F(Convert, WhatIsWrittenIsReadBackWithinTheFormsError) {
  for (const auto& form : kForms) {
    SCOPED_TRACE(int(form.target));
    const Result result = run(form.target, form.out);
    const Checkpoint back = Checkpoint::open(folder / form.out);
    EXPECT_EQ(back.tensors().size(), tensors.size());
    EXPECT_EQ(result.bytes, fs::file_size(folder / form.out));
    for (const auto& [name, values] : tensors) {
      const at::Tensor got = back.map(name);
      ASSERT_EQ(got.sizes(), values.sizes()) << name;
      const bool linear = name.starts_with("blocks.") && values.dim() == 2;
      if (linear) {
        EXPECT_LT(relative_rms(got, values), form.bound) << name;
        EXPECT_EQ(bool(back.coded(name)), form.target != Target::Bf16) << name;
      } else {
        EXPECT_EQ(got.scalar_type(), values.scalar_type()) << name;
        EXPECT_TRUE(at::equal(got, values)) << name;
      }
    }
    fs::remove(folder / form.out);
  }
}

TEST_F(Convert, TheErrorIsToldForEachGroup) {
  const Result result = run(Target::Int8, "out.safetensors");
  const Checkpoint back = Checkpoint::open(folder / "out.safetensors");
  ASSERT_EQ(result.groups.size(), 3u);
  for (const GroupError& group : result.groups) {
    std::vector<at::Tensor> got, want;
    for (const auto& [name, values] : tensors)
      if (values.dim() == 2 && name.find("." + group.group + ".") != std::string::npos) {
        got.push_back(back.map(name).flatten());
        want.push_back(values.to(at::kFloat).flatten());
      }
    EXPECT_EQ(group.tensors, int64_t(got.size()));
    EXPECT_NEAR(group.relative, relative_rms(at::cat(got), at::cat(want)), 1e-5) << group.group;
  }
}

TEST_F(Convert, WhatIsNotChosenStaysAsItIs) {
  const std::string chosen = "blocks.1.ffn.2.weight";
  const Options options{.changes = [&](const std::string& name) { return name == chosen; },
                        .metadata = {{"made_for", "a test"}}};
  convert(Checkpoint::open(folder / "in.safetensors"), Model::TextExpert, Target::Bf16, folder / "out.safetensors", "a",
          {}, options);
  const Checkpoint back = Checkpoint::open(folder / "out.safetensors");
  for (const auto& [name, values] : tensors) {
    EXPECT_EQ(back.tensors().at(name).dtype, name == chosen ? at::kBFloat16 : values.scalar_type()) << name;
    EXPECT_TRUE(at::equal(back.map(name), name == chosen ? values.to(at::kBFloat16) : values)) << name;
  }
  const auto texts = read_safetensors_metadata(MappedFile::open(folder / "out.safetensors"));
  EXPECT_EQ(texts.at("made_for"), "a test");
  EXPECT_EQ(texts.at("format"), "pt");
}

TEST_F(Convert, Q8IsThatOfGgml) {
  run(Target::Q8_0, "out.gguf");
  const Checkpoint back = Checkpoint::open(folder / "out.gguf");
  const at::Tensor values = tensors.at("blocks.0.ffn.2.weight"), codes = back.coded("blocks.0.ffn.2.weight")->codes;
  for (int64_t row = 0; row < 3; ++row)
    for (int64_t block = 0; block < 16; ++block) {
      const float* x = values[row].const_data_ptr<float>() + block * 32;
      const uint8_t* got = codes[row].const_data_ptr<uint8_t>() + block * 34;
      float largest = 0;
      for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(x[i]));
      const float scale = largest / 127, inverse = 1 / scale;
      const auto half = c10::Half(scale);
      EXPECT_EQ(std::memcmp(got, &half, 2), 0);
      for (int i = 0; i < 32; ++i) EXPECT_EQ(int8_t(got[2 + i]), int8_t(std::roundf(x[i] * inverse)));
    }
}

TEST_F(Convert, AnInterruptedRunIsGoneOnWith) {
  run(Target::Fp8, "whole.safetensors");
  struct Stop {};
  const auto stop_at = [](int64_t limit) {
    return [limit](int64_t finished, int64_t) {
      if (finished == limit) throw Stop();
    };
  };
  EXPECT_THROW(run(Target::Fp8, "out.safetensors", "a", stop_at(5)), Stop);
  EXPECT_FALSE(fs::exists(folder / "out.safetensors"));
  EXPECT_THROW(run(Target::Fp8, "out.safetensors", "a", stop_at(9)), Stop);
  const Result result = run(Target::Fp8, "out.safetensors");
  EXPECT_EQ(result.resumed, 9);
  EXPECT_EQ(result.groups.size(), 3u);
  EXPECT_EQ(content_of(folder / "out.safetensors"), content_of(folder / "whole.safetensors"));
  EXPECT_FALSE(fs::exists(folder / "out.safetensors.part.done"));
  EXPECT_FALSE(fs::exists(folder / "out.safetensors.part"));

  EXPECT_THROW(run(Target::Fp8, "other.safetensors", "a", stop_at(5)), Stop);
  EXPECT_EQ(run(Target::Fp8, "other.safetensors", "another source").resumed, 0);
  EXPECT_EQ(content_of(folder / "other.safetensors"), content_of(folder / "whole.safetensors"));
}

TEST_F(Convert, HalfALineOfTheNotesIsDropped) {
  struct Stop {};
  EXPECT_THROW(run(Target::Int8, "out.safetensors", "a",
                   [](int64_t finished, int64_t) {
                     if (finished == 5) throw Stop();
                   }),
               Stop);
  const fs::path notes = folder / "out.safetensors.part.done";
  fs::resize_file(notes, fs::file_size(notes) - 3);
  EXPECT_EQ(run(Target::Int8, "out.safetensors").resumed, 4);
}

TEST_F(Convert, ValuesThatAreNotFiniteAreRefused) {
  Tensors broken = tensors;
  broken.at("blocks.1.ffn.2.weight")[3][7] = INFINITY;
  write_safetensors(folder / "in.safetensors", broken);
  for (const auto& form : kForms) {
    try {
      run(form.target, form.out);
      ADD_FAILURE();
    } catch (const ModelError& error) {
      EXPECT_NE(std::string(error.what()).find("blocks.1.ffn.2.weight] must hold finite numbers"), std::string::npos);
    }
    for (const char* ending : {"", ".part", ".part.done"})
      EXPECT_FALSE(fs::exists(folder / (form.out + std::string(ending)))) << ending;
  }
}

TEST_F(Convert, RowsThatAreNoWholeBlocksTakeEveryOtherForm) {
  write_safetensors(folder / "in.safetensors", {{"blocks.0.ffn.2.weight", at::randn({8, 48})}});
  try {
    run(Target::Q8_0, "out.gguf");
    ADD_FAILURE();
  } catch (const FormError& error) {
    EXPECT_STREQ(error.what(),
                 "must be bf16, fp8 or int8 where no linear of the blocks has rows of whole blocks of 32 values");
  }
  for (Target target : {Target::Bf16, Target::Fp8, Target::Int8}) EXPECT_EQ(run(target, "out.safetensors").tensors, 1);
  write_safetensors(folder / "in.safetensors", {{"head.weight", at::randn({8, 64})}});
  EXPECT_THROW(run(Target::Fp8, "none.safetensors"), ModelError);
}

TEST_F(Convert, ProgressEndsAtAllAndAResumedRunSaysWhereItGoesOn) {
  using Reports = std::vector<std::pair<int64_t, int64_t>>;
  const auto all = int64_t(tensors.size());
  struct Stop {};
  Reports steps, resumed;
  const auto go = [&](int64_t limit) {
    const Told told = {.step =
                           [&](int64_t finished, int64_t of) {
                             steps.emplace_back(finished, of);
                             if (finished == limit) throw Stop();
                           },
                       .resumed = [&](int64_t finished, int64_t of) { resumed.emplace_back(finished, of); }};
    return convert(Checkpoint::open(folder / "in.safetensors"), Model::TextExpert, Target::Fp8,
                   folder / "out.safetensors", "a", told);
  };
  EXPECT_THROW(go(6), Stop);
  EXPECT_EQ(resumed, Reports());
  EXPECT_EQ(steps.front(), std::pair(int64_t(0), all));
  steps.clear();
  EXPECT_EQ(go(-1).resumed, 6);
  EXPECT_EQ(resumed, (Reports{{6, all}}));
  EXPECT_EQ(steps.front(), std::pair(int64_t(6), all)) << "what is there is no progress";
  EXPECT_EQ(steps.back(), std::pair(all, all));
}

TEST_F(Convert, OfAVaeTheConvolutionsBecomeBfloat16) {
  at::manual_seed(6);
  const Tensors vae = {{"encoder.conv1.weight", at::randn({8, 3, 3, 3, 3})},
                       {"encoder.conv1.bias", at::randn({8})},
                       {"decoder.middle.1.to_qkv.weight", at::randn({24, 8, 1, 1})},
                       {"decoder.middle.1.norm.gamma", at::randn({8, 1, 1})},
                       {"conv2.weight", at::randn({8, 8, 1, 1, 1})}};
  write_safetensors(folder / "vae.safetensors", vae);
  const Checkpoint source = Checkpoint::open(folder / "vae.safetensors");
  const Result result = convert(source, Model::Vae, Target::Bf16, folder / "out.safetensors", "a", {});
  const Checkpoint back = Checkpoint::open(folder / "out.safetensors");
  for (const auto& [name, values] : vae)
    EXPECT_TRUE(at::equal(back.map(name), name.ends_with(".weight") ? values.to(at::kBFloat16) : values)) << name;
  ASSERT_EQ(result.groups.size(), 3u);
  EXPECT_EQ(result.groups[0].group, "conv2");
  EXPECT_EQ(result.groups[2].group, "encoder");
  for (const GroupError& group : result.groups) {
    EXPECT_EQ(group.tensors, 1);
    EXPECT_GT(group.relative, 1e-3);
    EXPECT_LT(group.relative, 2e-3);
  }
  for (Target target : {Target::Fp8, Target::Int8, Target::Q8_0}) try {
      convert(source, Model::Vae, target, folder / "other", "a", {});
      ADD_FAILURE();
    } catch (const FormError& error) {
      EXPECT_STREQ(error.what(), "must be bf16 for a VAE, whose convolutions take no other form");
    }
}

TEST_F(Convert, OfATextEncoderNormsBiasesAndTheTableKeepTheirForm) {
  at::manual_seed(7);
  const Tensors encoder = {{"token_embedding.weight", at::randn({40, 64}).to(at::kBFloat16)},
                           {"blocks.0.norm1.weight", at::randn({64})},
                           {"blocks.0.attn.q.weight", at::randn({64, 64}).to(at::kBFloat16)},
                           {"blocks.0.pos_embedding.embedding.weight", at::randn({32, 4}).to(at::kBFloat16)},
                           {"blocks.0.ffn.gate.0.weight", at::randn({128, 64}).to(at::kBFloat16)},
                           {"norm.weight", at::randn({64})}};
  write_safetensors(folder / "t5.safetensors", encoder);
  for (const auto& form : kForms) {
    SCOPED_TRACE(int(form.target));
    const Result result = convert(Checkpoint::open(folder / "t5.safetensors"), Model::TextEncoder, form.target,
                                  folder / form.out, "t5", {});
    const Checkpoint back = Checkpoint::open(folder / form.out);
    ASSERT_EQ(result.groups.size(), 2u);
    EXPECT_EQ(result.groups[0].group + " " + result.groups[1].group, "attn ffn");
    for (const auto& [name, values] : encoder) {
      const bool linear = name.find(".attn.") != std::string::npos || name.find(".ffn.") != std::string::npos;
      EXPECT_EQ(bool(back.coded(name)), linear && form.target != Target::Bf16) << name;
      EXPECT_TRUE(linear || at::equal(back.map(name), values)) << name;
    }
    fs::remove(folder / form.out);
  }
}

TEST_F(Convert, WhatIsInCodesAlreadyIsCounted) {
  const Checkpoint floats = Checkpoint::open(folder / "in.safetensors");
  EXPECT_TRUE(coded_already(floats, Model::TextExpert, Target::Fp8).empty());
  run(Target::Q8_0, "q8.gguf");
  using Counts = std::map<std::string, int64_t>;
  EXPECT_EQ(coded_already(Checkpoint::open(folder / "q8.gguf"), Model::TextExpert, Target::Bf16),
            (Counts{{"Q8_0", 6}}));
}

TEST_F(Convert, CodesBecomeOtherCodes) {
  run(Target::Fp8, "fp8.safetensors");
  const Checkpoint fp8 = Checkpoint::open(folder / "fp8.safetensors");
  const Result result = convert(fp8, Model::TextExpert, Target::Q8_0, folder / "q8.gguf", "b", {});
  EXPECT_EQ(result.tensors, int64_t(tensors.size()));
  const Checkpoint q8 = Checkpoint::open(folder / "q8.gguf");
  EXPECT_LT(relative_rms(q8.map("blocks.0.ffn.2.weight"), fp8.map("blocks.0.ffn.2.weight")), 8e-3);
}

}  // namespace wan::convert
