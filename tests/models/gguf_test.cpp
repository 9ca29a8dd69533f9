#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/dequantise/coding.h"
#include "models/files/digest.h"
#include "models/files/error.h"
#include "models/weights/checkpoint.h"
#include "models/weights/format/format.h"
#include "models/weights/format/gguf.h"
#include "models/weights/format/safetensors.h"
#include "models/weights/scope.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"
#include "tests/support/checkpoint_files.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

const fs::path kSamples = fs::path(WAN_SOURCE_DIR) / "tests/formats";
constexpr uint64_t kBillion = 1'000'000'000;
constexpr uint32_t kF32 = 0, kQ8 = 8, kUint16 = 2, kUint32 = 4, kInt32 = 5, kString = 8, kArray = 9;

/// A file piece by piece.
class Made {
 public:
  template <typename T>
  Made& number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Made& string(const std::string& text) {
    number<uint64_t>(text.size());
    bytes_ += text;
    return *this;
  }
  Made& start(uint64_t tensors, uint64_t entries, uint32_t version = 3) {
    bytes_ += "GGUF";
    return number(version).number(tensors).number(entries);
  }
  Made& entry(const std::string& key, uint32_t type) { return string(key).number(type); }
  /// `sizes` as the file has them: the row first.
  Made& tensor(const std::string& name, const std::vector<uint64_t>& sizes, uint32_t type, uint64_t offset) {
    string(name).number(uint32_t(sizes.size()));
    for (uint64_t size : sizes) number(size);
    return number(type).number(offset);
  }
  uint64_t aligned() const { return (bytes_.size() + 31) / 32 * 32; }
  /// With `data` bytes of zeros behind the header, as a hole.
  fs::path write(const TemporaryFolder& folder, uint64_t data, const std::string& name = "made.gguf") const {
    const fs::path path = folder / name;
    std::ofstream(path, std::ios::binary) << bytes_;
    fs::resize_file(path, aligned() + data);
    return path;
  }
  /// The same with these bytes for data.
  fs::path write(const TemporaryFolder& folder, const std::string& data, const std::string& name = "made.gguf") const {
    const fs::path path = folder / name;
    std::ofstream(path, std::ios::binary) << bytes_ << std::string(aligned() - bytes_.size(), '\0') << data;
    return path;
  }

 private:
  std::string bytes_;
};

/// Two rows of one block of Q8_0: 2 * (0, 1, 2, ...) and -1 * (0, 1, 2, ...).
std::string two_rows() {
  std::string data;
  for (uint16_t scale : {0x4000, 0xBC00}) {
    data.append(reinterpret_cast<const char*>(&scale), 2);
    for (char code = 0; code < 32; ++code) data += code;
  }
  return data;
}
at::Tensor values_of_two_rows() {
  const at::Tensor row = at::arange(32, at::kFloat);
  return at::stack({row * 2, -row});
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

#ifndef WAN_CORE_ONLY
TEST(Gguf, LoadsEverySampleBitForBit) {
  const fs::path own = fs::path(WAN_SOURCE_DIR) / "tests/golden/gguf";
  std::ifstream list(own / "expected.json");
  const auto expected = nlohmann::json::parse(list);
  EXPECT_EQ(expected.size(), 32u);
  for (const auto& [file, tensors] : expected.items()) {
    SCOPED_TRACE(file);
    const Checkpoint got = Checkpoint::open((fs::exists(own / file) ? own : kSamples / "gguf") / file);
    EXPECT_EQ(got.tensors().size(), tensors.size());
    for (const auto& [name, want] : tensors.items()) {
      ASSERT_TRUE(got.tensors().contains(name)) << name;
      const StoredTensor& stored = got.tensors().at(name);
      EXPECT_EQ(stored.shape, want.at("shape").get<std::vector<int64_t>>()) << name;
      const std::string type = want.at("type");
      const bool plain = type == "F32" || type == "F16" || type == "BF16";
      EXPECT_EQ(stored.coding ? std::string(stored.coding->name) : "", plain ? "" : type) << name;
      const at::Tensor values = got.map(name).to(at::kFloat);
      EXPECT_EQ(values.sizes(), at::IntArrayRef(stored.shape));
      EXPECT_EQ(sha256({{static_cast<const char*>(values.const_data_ptr()), values.nbytes()}}), want.at("sha256"))
          << name << " " << type;
    }
  }
}
#endif

TEST(Gguf, RefusesEveryBadSampleAndSaysWhy) {
  const std::map<std::string, std::string> reasons = {
      {"alignment_zero", "must have a power of two for general.alignment, has 0"},
      {"array_depth", "must have arrays at most 8 deep"},
      {"bigendian", "must be little-endian, is a big-endian GGUF file"},
      {"dim_overflow", "has an impossible shape"},
      {"dims9", "must have at most 8 dimensions, has 9"},
      {"duplicate_name", "occurs twice in the header"},
      {"empty", "must not be empty"},
      {"huge_kv_count", "must have at most 100,000 entries of metadata, says 4611686018427387904"},
      {"huge_string", "ends too early"},
      {"huge_tensor_count", "must have at most 200,000 tensors, says 4611686018427387904"},
      {"magic", "must be a GGUF file, does not begin with GGUF"},
      {"offset_eof", "the file is cut short"},
      {"offset_overflow", "the file is cut short"},
      {"offset_unaligned", "must begin at a multiple of 32 bytes"},
      {"overlap", "must begin behind"},
      {"removed_type", "is of type 4 (Q4_2)"},
      {"row_not_block_multiple", "must have rows of whole blocks of 256 elements"},
      {"truncated_data", "the file is cut short"},
      {"truncated_header", "ends too early"},
      {"unknown_type", "is of type 250;"},
      {"version1", "must be GGUF version 2 or 3, is version 1"},
      {"version99", "must be GGUF version 2 or 3, is version 99"},
  };
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(kSamples / "gguf_bad")) {
    const std::string name = entry.path().stem().string(), got = refusal_of(entry.path());
    ASSERT_TRUE(reasons.contains(name)) << name;
    EXPECT_NE(got.find(reasons.at(name)), std::string::npos) << name << ": " << got;
    ++files;
  }
  EXPECT_EQ(files, reasons.size());
}

TEST(Gguf, ReadsShapesValuesAndNamesOfAMadeFile) {
  TemporaryFolder folder;
  Made made;
  made.start(2, 1).entry("comfy.gguf.orig_shape.model.diffusion_model.kernel", kArray).number(kInt32);
  made.number<uint64_t>(3).number<int32_t>(4).number<int32_t>(4).number<int32_t>(4);
  made.tensor("model.diffusion_model.rows", {32, 2}, kQ8, 0);
  made.tensor("model.diffusion_model.kernel", {32, 2}, kQ8, 96);
  // A name without an extension is told by its content.
  for (const char* name : {"made.gguf", "0a1b2c"}) {
    const Checkpoint file = Checkpoint::open(made.write(folder, two_rows() + std::string(28, '\0') + two_rows(), name));
    EXPECT_EQ(file.tensors().at("rows").shape, (std::vector<int64_t>{2, 32}));
    EXPECT_TRUE(at::equal(file.map("rows"), values_of_two_rows()));
    EXPECT_TRUE(at::equal(file.map("kernel"), values_of_two_rows().view({4, 4, 4})));
    EXPECT_EQ(file.bytes(), 4u * 34);
    EXPECT_TRUE(file.is_coded());
    EXPECT_EQ(header_of(file.files()[0])[0].size(), made.aligned());
  }
}

TEST(Gguf, UnderAnotherNameSaysWhatItIs) {
  TemporaryFolder folder;
  const Made made = Made().start(1, 0).tensor("rows", {32, 2}, kQ8, 0);
  for (const char* name : {"made.safetensors", "made.pth"})
    EXPECT_NE(refusal_of(made.write(folder, two_rows(), name)).find("is a GGUF file under another name; name it .gguf"),
              std::string::npos);
}

TEST(Gguf, NamesTheFileAndTheTensorThatIsWrong) {
  TemporaryFolder folder;
  const auto with = [&](const std::vector<uint64_t>& sizes, uint32_t type, uint64_t offset, uint64_t data) {
    return refusal_of(Made().start(1, 0).tensor("block.weight", sizes, type, offset).write(folder, data));
  };
  EXPECT_NE(with({8, 4}, kF32, 64, 128)
                .find("made.gguf: block.weight] must lie in the 128 bytes of data that the file "
                      "has, is 128 bytes at byte 64: the file is cut short; download it again"),
            std::string::npos);
  EXPECT_NE(with({8, 4}, kF32, UINT64_MAX - 31, 128).find("block.weight] must lie in the 128 bytes"),
            std::string::npos);
  EXPECT_NE(with({8, 4}, kF32, 4, 256).find("block.weight] must begin at a multiple of 32 bytes, begins at 4"),
            std::string::npos);
  EXPECT_NE(with({8, 0}, kF32, 0, 256).find("block.weight] must have sizes above zero, has 0"), std::string::npos);
  EXPECT_NE(with({40, 2}, kQ8, 0, 256).find("whole blocks of 32 elements (Q8_0), has rows of 40"), std::string::npos);
  EXPECT_NE(with({1u << 31, 1u << 31, 4}, kQ8, 0, 256).find("block.weight] has an impossible shape"),
            std::string::npos);
  EXPECT_NE(with({32}, 9, 0, 256).find("is of type 9 (Q8_1); take a file of another quantisation"), std::string::npos);
  EXPECT_EQ(with({8, 4}, kF32, 0, 128), "");
}

TEST(Gguf, RefusesWhatItsMetadataCannotMean) {
  TemporaryFolder folder;
  const auto refused = [&](const Made& made, const std::string& why) {
    const std::string got = refusal_of(made.write(folder, 64));
    EXPECT_NE(got.find(why), std::string::npos) << got;
  };
  refused(Made().start(kBillion, 0), "must have at most 200,000 tensors, says 1000000000");
  refused(Made().start(0, 1).entry("split.count", kUint16).number<uint16_t>(3), "is one of 3 parts; join them");
  refused(Made().start(0, 2).entry("a", kUint32).number(1u).entry("a", kUint32).number(1u), "has the metadata a twice");
  refused(Made().start(0, 1).entry("a", 13), "a has type 13");
  refused(Made().start(0, 1).entry("general.alignment", kUint32).number(48u), "has 48");
  refused(Made().start(0, 1).entry("general.alignment", kString).string("32"), "in 32 bits");
  refused(Made().start(0, 1).entry("a", kArray).number(kUint32).number(UINT64_MAX / 4 + 2), "must hold its metadata");
  refused(Made().start(0, 1).entry(std::string(1001, 'k'), kUint32), "names of at most 1,000 bytes");
  refused(Made().start(1, 0).tensor("\xff", {8}, kF32, 0), "must have names in UTF-8");
  refused(Made()
              .start(1, 1)
              .entry("comfy.gguf.orig_shape.a", kArray)
              .number(kInt32)
              .number<uint64_t>(1)
              .number<int32_t>(-8)
              .tensor("a", {8}, kF32, 0),
          "must have as many elements as the shape that comfy.gguf.orig_shape gives it, has 8");
}

TEST(Gguf, WalksOverNoMoreThanAHeaderOfAHugeFile) {
  TemporaryFolder folder;
  // A string of 200 MB of zeros, and an array of as many strings as the file has room for.
  const fs::path text = Made().start(0, 1).entry("a", kString).number(2 * kBillion).write(folder, 3 * kBillion);
  EXPECT_NE(refusal_of(text).find("must have a header of at most 100 MB"), std::string::npos);
  const auto start = std::chrono::steady_clock::now();
  const fs::path many =
      Made().start(0, 1).entry("a", kArray).number(kString).number(kBillion).write(folder, 9 * kBillion);
  EXPECT_NE(refusal_of(many).find("must have a header of at most 100 MB"), std::string::npos);
  EXPECT_LT(seconds_since(start), 5);
}

TEST(Gguf, ReadsTheHeaderOfAWholeExpertAtOnce) {
  TemporaryFolder folder;
  const auto tensors = published_tensors("official_dit_t2v_a14b");
  Made made;
  made.start(tensors.size(), 0);
  uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    const bool matrix = tensor.shape.size() == 2 && tensor.shape[1] % 32 == 0;
    made.tensor(name, {tensor.shape.rbegin(), tensor.shape.rend()}, matrix ? kQ8 : kF32, offset);
    offset += uint64_t(matrix ? tensor.elements() / 32 * 34 : tensor.elements() * 4);
    offset = (offset + 31) / 32 * 32;
  }
  const fs::path path = made.write(folder, offset);
  const auto start = std::chrono::steady_clock::now();
  const Checkpoint file = Checkpoint::open(path);
  EXPECT_LT(seconds_since(start), 0.2);
  EXPECT_GT(fs::file_size(path), 15 * kBillion);
  ASSERT_EQ(file.tensors().size(), 1095u);
  for (const auto& [name, tensor] : tensors) EXPECT_EQ(file.tensors().at(name).shape, tensor.shape) << name;
}

TEST(Gguf, IsTheOnlyWeightFileOfAFolder) {
  TemporaryFolder folder;
  const Made made = Made().start(1, 0).tensor("rows", {32, 2}, kQ8, 0);
  made.write(folder, two_rows(), "Wan2.2-T2V-Q8_0.gguf");
  std::ofstream(folder / "config.json") << "{}";
  EXPECT_TRUE(at::equal(Checkpoint::open(folder.path()).map("rows"), values_of_two_rows()));
  made.write(folder, two_rows(), "Wan2.2-T2V-Q4_0.gguf");
  EXPECT_NE(refusal_of(folder.path()).find("holds Wan2.2-T2V-Q4_0.gguf and Wan2.2-T2V-Q8_0.gguf"), std::string::npos);
  // The files of a published folder come first.
  write_safetensors(folder / "model.safetensors", {{"other", at::zeros({1})}});
  EXPECT_TRUE(Checkpoint::open(folder.path()).tensors().contains("other"));
}

TEST(Gguf, WeightsAreCopiesOfCodedTensorsAndViewsOfOthers) {
  TemporaryFolder folder;
  const fs::path path = Made()
                            .start(2, 0)
                            .tensor("rows", {32, 2}, kQ8, 0)
                            .tensor("plain", {32, 2}, kF32, 96)
                            .write(folder, two_rows() + std::string(28 + 256, '\0'));
  for (const bool planned : {false, true}) {
    Weights weights(Checkpoint::open(path), planned ? Place{}.planned() : Place{});
    const Weight coded = weights.root().take("rows", {2, 32}, Role::Matmul);
    const Weight plain = weights.root().take("plain", {2, 32}, Role::Matmul);
    weights.finish();
    EXPECT_EQ(coded.bytes(), 256u);
    EXPECT_EQ(plain.bytes(), 0u);
    EXPECT_TRUE(planned || at::equal(coded.tensor(), values_of_two_rows()));
  }
}

TEST(Gguf, WidensOneBlock) {
  std::string block("\x00\x40", 2);  // 2
  for (int byte = 0; byte < 16; ++byte) block += char(byte | (15 - byte) << 4);
  std::vector<float> values(32);
  kernels::coding_of(kernels::Code::Q4_0).widen(reinterpret_cast<const uint8_t*>(block.data()), 1, values.data());
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(values[size_t(i)], float(2 * (i - 8)));
    EXPECT_EQ(values[size_t(i) + 16], float(2 * (7 - i)));
  }
}

}  // namespace wan
