// What a conversion meets in its source: tables in codes, tensors that GGUF does not hold, a file that changes.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "models/files/error.h"
#include "models/weights/convert/convert.h"
#include "models/weights/convert/layout.h"
#include "models/weights/convert/part_file.h"
#include "models/weights/format/safetensors.h"
#include "tests/allocations.h"
#include "tests/coded_checkpoint.h"
#include "tests/support.h"

namespace wan::convert {

namespace {

namespace fs = std::filesystem;
using Tensors = std::map<std::string, at::Tensor>;

class ConvertSource : public testing::Test {
 protected:
  Result run(Target target, const std::string& out, const Options& options = {}) {
    return convert(Checkpoint::open(folder / "in.safetensors"), Model::TextExpert, target, folder / out, "a", {},
                   options);
  }
  TemporaryFolder folder;
  const Tensors tensors = {{"blocks.0.ffn.2.weight", at::randn({8, 64})}, {"head.modulation", at::randn({1, 2, 8})}};
};

/// A text encoder with a table of 16,384 x 4,096 in scaled fp8, which is a hole in the file.
void write_sparse_table(const fs::path& path) {
  constexpr int64_t kRows = 16384, kColumns = 4096;
  const Layout layout = safetensors_layout({{"blocks.0.ffn.2.weight", "F32", {4, 64}, 1024},
                                            {"token_embedding.scale_weight", "F32", {}, 4},
                                            {"token_embedding.weight", "F8_E4M3", {kRows, kColumns}, kRows * kColumns}},
                                           {});
  std::ofstream file(path, std::ios::binary);
  file << layout.header;
  const float scale = 0.5f;
  for (const Slot& slot : layout.slots)
    if (slot.bytes == 4) {
      file.seekp(std::streamoff(slot.offset));
      file.write(reinterpret_cast<const char*>(&scale), sizeof scale);
    } else if (slot.type == "F8_E4M3") {
      file.seekp(std::streamoff(slot.offset + slot.bytes - 2));
      file.write("\x38\x40", 2);  // the last two of the table: 1 and 2
    }
  file.close();
  fs::resize_file(path, layout.size);
}

}  // namespace

TEST_F(ConvertSource, OfATableInCodesATileAtATimeIsWidened) {
  write_sparse_table(folder / "table.safetensors");
  {
    const Allocations allocations;
    convert(Checkpoint::open(folder / "table.safetensors"), Model::TextEncoder, Target::Bf16,
            folder / "out.safetensors", "table", {}, {});
    // The whole table in float32 takes 268 MB; a tile of it 67 MB, and in bfloat16 half of that.
    EXPECT_LT(allocations.peak(), 150'000'000);
  }
  const Checkpoint back = Checkpoint::open(folder / "out.safetensors");
  const at::Tensor table = back.map("token_embedding.weight");
  EXPECT_EQ(table.scalar_type(), at::kBFloat16);
  EXPECT_EQ(table[16383].narrow(0, 4093, 3).to(at::kFloat).abs().sum().item<float>(), 1.5f);
  EXPECT_EQ(table[16383][4095].item<float>(), 1);
}

TEST_F(ConvertSource, TablesInAnyCodesAreKeptAsTheirValues) {
  const Tensors encoder = {{"token_embedding.weight", at::randn({5000, 4096})},  // a whole tile has 4,096 rows
                           {"blocks.0.attn.q.weight", at::randn({64, 64})}};
  write_safetensors(folder / "t5.safetensors", encoder);
  const auto is_table = [](const std::string& name) { return name.starts_with("token"); };
  const Checkpoint source =
      coded_checkpoint(Checkpoint::open(folder / "t5.safetensors"), folder / "codes", is_table,
                       [](const std::string&, const at::Tensor& values) { return as_q8_0(values); });
  convert(source, Model::TextEncoder, Target::Bf16, folder / "out.safetensors", "t5", {});
  EXPECT_TRUE(at::equal(Checkpoint::open(folder / "out.safetensors").map("token_embedding.weight"),
                        source.map("token_embedding.weight").to(at::kBFloat16)));
}

TEST_F(ConvertSource, WhatGgufDoesNotHoldIsRefusedByName) {
  for (const at::ScalarType dtype : {at::kLong, at::kInt, at::kShort}) {
    Tensors more = tensors;
    more["blocks.0.steps"] = at::arange(12).to(dtype);
    write_safetensors(folder / "in.safetensors", more);
    try {
      run(Target::Q8_0, "out.gguf");
      ADD_FAILURE() << dtype;
    } catch (const FormError& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("must be bf16, fp8 or int8 where a tensor is in other than F32, F16 or BF16, as "
                          "blocks.0.steps is in I"),
                std::string::npos)
          << text;
    }
    EXPECT_FALSE(fs::exists(folder / "out.gguf.part"));
    run(Target::Int8, "out.safetensors");
    EXPECT_TRUE(
        at::equal(Checkpoint::open(folder / "out.safetensors").map("blocks.0.steps"), more.at("blocks.0.steps")));
  }
}

TEST_F(ConvertSource, ASourceThatChangedLeavesNothingBehind) {
  std::ofstream(folder / "out.safetensors") << "an older file";
  const Options options{.check = [&] {
    EXPECT_TRUE(fs::exists(folder / "out.safetensors.part"));
    throw SourceRefused("in", "was changed");
  }};
  write_safetensors(folder / "in.safetensors", tensors);
  EXPECT_THROW(run(Target::Fp8, "out.safetensors", options), ModelError);
  std::ostringstream there;
  there << std::ifstream(folder / "out.safetensors").rdbuf();
  EXPECT_EQ(there.str(), "an older file");
  EXPECT_FALSE(fs::exists(folder / "out.safetensors.part"));
  EXPECT_FALSE(fs::exists(folder / "out.safetensors.part.done"));
}

// A file that cannot be read for a while is no reason to begin anew.
TEST_F(ConvertSource, WhatWasWrittenStaysWhereTheSourceCannotBeRead) {
  const Options options{.check = [&] { throw ModelError("in", "cannot be read"); }};
  write_safetensors(folder / "in.safetensors", tensors);
  EXPECT_THROW(run(Target::Fp8, "out.safetensors", options), ModelError);
  EXPECT_TRUE(fs::exists(folder / "out.safetensors.part"));
}

TEST(PartFile, WhatALargerFileLeftIsRoomForASmallerOne) {
  EXPECT_EQ(missing_bytes(100, 0), 100u);
  EXPECT_EQ(missing_bytes(100, 30), 70u);
  EXPECT_EQ(missing_bytes(100, 100), 0u);
  EXPECT_EQ(missing_bytes(100, 4096), 0u);
}

}  // namespace wan::convert
