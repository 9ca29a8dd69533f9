// What is planned from headers is what opening gives.
#include "models/weights/stored_part.h"

#include "models/files/error.h"
#include "models/weights/format/safetensors.h"
#include "tests/support.h"

namespace wan {
namespace {

void expect_planned(const StoredTensor& tensor, const StoredPart& part) {
  const StoredPart plan = planned_part(tensor);
  ASSERT_EQ(plan.is_coded(), part.is_coded());
  EXPECT_EQ(plan.shape(), part.shape());
  EXPECT_EQ(plan.bytes(), part.bytes());
  EXPECT_EQ(plan.in_file, part.in_file);
  if (!part.is_coded()) return;
  EXPECT_TRUE(is_alike(*plan.codes, *part.codes));
  EXPECT_EQ(plan.codes->scale_rows, part.codes->scale_rows);
  EXPECT_EQ(plan.codes->scale_columns, part.codes->scale_columns);
  EXPECT_EQ(plan.codes->factor, part.codes->factor);
  EXPECT_EQ(plan.codes->rotation, part.codes->rotation);
}

TEST(StoredPart, APlanHasTheScalesThatOpeningGives) {
  const TemporaryFolder folder;
  const Tensor tiles = at::ones({128, 4}).to(at::kFloat8_e4m3fn);
  write_safetensors(folder / "x.safetensors", {{"weight", at::ones({40, 96}).to(at::kFloat8_e4m3fn)},
                                               {"half", at::ones({10, 3}).to(at::kHalf)},
                                               {"tiles", at::cat({tiles, tiles}, 1)}});
  const StoredTensors tensors = Checkpoint::open(folder / "x.safetensors").tensors();
  const auto with = [&](const std::string& name, StoredScales::Order order, int64_t rows, int64_t columns) {
    StoredScales scales;
    scales.blocks = tensors.at(name);
    scales.order = order;
    scales.rows = rows;
    scales.columns = columns;
    scales.factor = 3;
    StoredTensor tensor = tensors.at("weight");
    tensor.scales = std::make_shared<const StoredScales>(scales);
    return tensor;
  };
  for (const StoredTensor& tensor :
       {with("half", StoredScales::Order::Rows, 4, 32), with("tiles", StoredScales::Order::Tiles, 1, 16)}) {
    const Checkpoint file = Checkpoint::names_only({{"weight", tensor}}, "x");
    expect_planned(tensor, stored_part(file, "weight"));
    EXPECT_GT(planned_part(tensor).bytes(), 40u * 96);
  }
  // Blocks that go over the ends of rows are no codes of a matrix.
  StoredTensor odd = tensors.at("weight");
  odd.dtype = at::kFloat;
  odd.shape = {4, 16};
  odd.strides = {16, 1};
  odd.coding = &kernels::coding_of(kernels::Code::Q8_0);
  expect_planned(odd, stored_part(Checkpoint::names_only({{"weight", odd}}, "x"), "weight"));
  EXPECT_FALSE(planned_part(odd).is_coded());
}

TEST(StoredPart, APlanIsWhatOpeningGives) {
  int64_t coded = 0;
  for (const char* folder : {WAN_SOURCE_DIR "/tests/formats/gguf", WAN_SOURCE_DIR "/tests/formats/fp8"})
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().extension() != ".gguf" && entry.path().extension() != ".safetensors") continue;
      std::optional<Checkpoint> file;
      try {
        file = Checkpoint::open(entry.path());
      } catch (const ModelError&) {
        continue;
      }
      for (const auto& [name, tensor] : file->tensors()) {
        SCOPED_TRACE(entry.path().filename().string() + ": " + name);
        const StoredPart part = stored_part(*file, name);
        expect_planned(tensor, part);
        coded += part.is_coded();
      }
    }
  EXPECT_GT(coded, 30);
}

}  // namespace
}  // namespace wan
