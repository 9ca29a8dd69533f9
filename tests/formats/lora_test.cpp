// The LoRA samples of this folder, or of another set of the same layout (WAN_FORMATS).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "models/weights/lora/attach.h"
#include "models/weights/matrix.h"
#include "tests/formats/samples.h"

namespace wan {

namespace {

using lora::Difference;
using lora::Kind;

std::string suffix_of(const std::string& tensor) {
  return tensor.substr(tensor.rfind('.') + 1);
}

/// The names in the file of expected values that belong to a sample's differences, by the tensors that these change.
std::map<std::string, std::string> keys_of(const std::vector<Difference>& differences, const std::string& expected) {
  std::map<std::string, std::string> keys;
  for (const Difference& difference : differences) {
    const std::map<std::string, std::string> full = {{"weight", "diff"}, {"bias", "diff_b"}, {"modulation", "diff_m"}};
    keys[difference.tensor] = difference.kind == Kind::Full ? full.at(suffix_of(difference.tensor)) : expected;
  }
  return keys;
}

}  // namespace

TEST(LoraSamples, GiveTheExpectedDifferences) {
  const Checkpoint base = Checkpoint::open(samples() / "lora/base.safetensors");
  size_t read = 0;
  const nlohmann::json entries = sample_entries("lora");
  for (const auto& [name, entry] : entries.items()) {
    if (!entry.contains("expected_key")) continue;
    SCOPED_TRACE(name);
    const lora::File file = lora::File::open(samples() / name, base.tensors(), {});
    const Checkpoint expected = Checkpoint::open(samples() / entry.at("expected").get<std::string>());
    EXPECT_FALSE(file.differences().empty());
    EXPECT_TRUE(file.unknown().empty());
    for (const Difference& difference : file.differences()) {
      const std::string key = keys_of({difference}, entry.at("expected_key")).at(difference.tensor);
      const at::Tensor got =
          difference.dora ? file.merged(base.map(difference.tensor), difference, 1) : file.delta(difference, 1);
      expect_close(got, expected.map(key), entry, difference.tensor);
      ++read;
    }
  }
  EXPECT_GE(read, 13u);
}

namespace {

/// What a weight gives for x: its product, or its values.
at::Tensor seen(const Weight& weight, const at::Tensor& x) {
  return weight.is_linear() ? product(x, weight, Weight(), Activation::None, at::kFloat) : weight.tensor().clone();
}

}  // namespace

TEST(LoraSamples, GiveTheExpectedProductsBesideTheWeight) {
  const Checkpoint base = Checkpoint::open(samples() / "lora/base.safetensors");
  size_t read = 0;
  const nlohmann::json entries = sample_entries("lora");
  for (const auto& [name, entry] : entries.items()) {
    if (!entry.contains("expected_key")) continue;
    SCOPED_TRACE(name);
    const auto file = std::make_shared<const lora::File>(lora::File::open(samples() / name, base.tensors(), {}));
    const Checkpoint expected = Checkpoint::open(samples() / entry.at("expected").get<std::string>());
    for (const Difference& difference : file->differences()) {
      SCOPED_TRACE(difference.tensor);
      const bool linear = difference.shape.size() == 2;
      const std::vector<StoredPart> stored(1, stored_part(base, difference.tensor));
      std::vector<Weight> weight;
      weight.emplace_back(std::vector<Part>{{difference.tensor, difference.shape}}, Role::Block,
                          Making{.linear = linear}, Place{}, stored);
      const at::Tensor x = linear ? at::randn({5, difference.shape[1]}) : at::Tensor();
      const at::Tensor before = seen(weight[0], x);
      lora::attach(weight, {{file, 1}}, base);
      const at::Tensor after = seen(weight[0], x);
      const at::Tensor change = expected.map(keys_of({difference}, entry.at("expected_key")).at(difference.tensor));
      at::Tensor want = linear ? at::linear(x, change.to(at::kFloat)) : change.to(at::kFloat).reshape(before.sizes());
      if (!difference.dora) want = before + want;
      EXPECT_LE((after - want).abs().max().item<double>(), 1e-5 * (1 + want.abs().max().item<double>()));
      EXPECT_FALSE(after.equal(before));
      ++read;
    }
  }
  EXPECT_GE(read, 13u);
}

}  // namespace wan
