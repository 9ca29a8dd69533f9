#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>

#include "models/files/error.h"
#include "models/weights/checkpoint.h"
#include "models/weights/format/safetensors.h"
#include "tests/support.h"
#include "tests/support/checkpoint_files.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

const fs::path kSamples = fs::path(WAN_SOURCE_DIR) / "tests/formats";

/// A file with this header and `data` bytes behind it.
fs::path file_with(const TemporaryFolder& folder, const std::string& header, size_t data) {
  const fs::path path = folder / "made.safetensors";
  const uint64_t length = header.size();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), sizeof length);
  file << header << std::string(data, '\0');
  return path;
}

}  // namespace

TEST(Safetensors, RefusesEveryBadSampleAndSaysWhy) {
  const std::map<std::string, std::string> reasons = {
      {"begin_after_end", "a] must lie behind the header, lies at 16 to 0"},
      {"deep_json", "a] must be an object, is an array"},
      {"duplicate_keys", "a] occurs twice"},
      {"empty", "must not be empty"},
      {"float_shape", "\"shape\" has a fraction"},
      {"gap", "b] must begin where the tensor before it ends (byte 16), begins at 32"},
      {"header_len_huge", "at most 100 MB, its first bytes say 9223372036854775808"},
      {"header_len_past_eof", "is cut short: its header alone has 5000 bytes, 71 are there"},
      {"header_len_short", "breaks at byte 29"},
      {"header_len_zero", "breaks at byte"},
      {"header_over_100mb", "at most 100 MB, its first bytes say 100000001"},
      {"invalid_json", "breaks at byte 63"},
      {"json_array", "must have an object for a header, has an array"},
      {"metadata_not_string", "must be strings, \"x\" is a number"},
      {"missing_field", "must have dtype, shape and two data_offsets"},
      {"negative_offset", "\"data_offsets\" has a negative number"},
      {"negative_shape", "\"shape\" has a negative number"},
      {"not_utf8", "breaks at byte 11"},
      {"offset_past_eof", "is cut short: 129 of 321 bytes are there"},
      {"overlap", "b] must begin where the tensor before it ends (byte 16), begins at 8"},
      {"shape_overflow", "a] has an impossible shape"},
      {"short8", "has only 3 bytes"},
      {"size_mismatch", "a] must have 20 bytes by its shape, has 16"},
      {"trailing_bytes", "must hold 16 bytes of data, holds 64"},
      {"unknown_dtype", "must have a known dtype, has \"F12\""},
  };
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(kSamples / "safetensors_bad")) {
    const std::string name = entry.path().stem().string();
    ASSERT_TRUE(reasons.contains(name)) << name;
    const std::string why = refusal_of(entry.path());
    EXPECT_NE(why.find(reasons.at(name)), std::string::npos) << name << ": " << why;
    ++files;
  }
  EXPECT_EQ(files, reasons.size());
}

TEST(Safetensors, RefusesWhatTheSamplesLackToo) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& header, size_t data) {
    return refusal_of(file_with(folder, header, data));
  };
  const std::string a = R"("a":{"dtype":"U8","shape":[0,4611686018427387904,4],"data_offsets":[0,0]})";
  EXPECT_NE(refused("{" + a + "}", 0).find("impossible shape"), std::string::npos)
      << "strides that overflow around a zero";
  const std::string twice = R"({"__metadata__":{},"__metadata__":{}})";
  EXPECT_NE(refused(twice, 0).find("occurs twice"), std::string::npos);
  EXPECT_NE(refused(R"({"__metadata__":{"x":"1","x":"2"}})", 0).find("\"x\" twice"), std::string::npos);
  const std::string repeated = R"({"a":{"dtype":"U8","dtype":"F32","shape":[4],"data_offsets":[0,4]}})";
  EXPECT_NE(refused(repeated, 4).find("one dtype"), std::string::npos);
  const std::string three = R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4,4]}})";
  EXPECT_NE(refused(three, 4).find("pair of data_offsets"), std::string::npos);
  const std::string fields = R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"more":"x"}})";
  EXPECT_NE(refused(fields, 4).find("\"more\""), std::string::npos);
  std::string deep = R"({"a":{"dtype":"U8","shape":[)";
  for (int i = 0; i < 65; ++i) deep += i ? ",1" : "1";
  EXPECT_NE(refused(deep + R"(],"data_offsets":[0,1]}})", 1).find("impossible shape"), std::string::npos);
  const std::string odd_name = R"({"a\nb\u0007":{"dtype":"U8","shape":[4],"data_offsets":[0,5]}})";
  EXPECT_NE(refused(odd_name, 5).find("a\\x0Ab\\x07"), std::string::npos) << "messages stay on one line";
}

TEST(Safetensors, LoadsTheOddButGoodSamples) {
  const fs::path good = kSamples / "safetensors_ok";
  EXPECT_TRUE(Checkpoint::open(good / "no_tensors.safetensors").tensors().empty());
  EXPECT_EQ(Checkpoint::open(good / "scalar.safetensors").map("s").item<float>(), 0.5f);
  const at::Tensor counted = at::tensor({1.f, 2.f, 3.f, 4.f});
  EXPECT_TRUE(at::equal(Checkpoint::open(good / "padded_header.safetensors").map("a"), counted));
  const Checkpoint unsorted = Checkpoint::open(good / "unsorted.safetensors");
  EXPECT_TRUE(at::equal(unsorted.map("a"), counted));
  EXPECT_TRUE(at::equal(unsorted.map("b"), at::tensor({5.f, 6.f})));
  const Checkpoint zero = Checkpoint::open(good / "zero_size.safetensors");
  EXPECT_TRUE(at::equal(zero.map("a"), counted));
  EXPECT_EQ(zero.map("scaled_fp8").sizes(), at::IntArrayRef({0}));
}

TEST(Safetensors, CopiesATensorAtAnOddAddress) {
  const TemporaryFolder folder;
  std::string header = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  for (int spaces = 0; spaces < 4; ++spaces, header += " ") {
    const Checkpoint checkpoint = Checkpoint::open(file_with(folder, header, 8));
    const StoredTensor& stored = checkpoint.tensors().at("a");
    const at::Tensor mapped = checkpoint.map("a");
    EXPECT_EQ(reinterpret_cast<uintptr_t>(mapped.const_data_ptr()) % 4, 0u);
    EXPECT_EQ(mapped.const_data_ptr() == stored.file->bytes().data() + stored.offset, stored.offset % 4 == 0);
    EXPECT_TRUE(at::equal(mapped, at::zeros({2})));
  }
  const std::string empty = R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})";
  EXPECT_EQ(Checkpoint::open(file_with(folder, empty + " ", 0)).map("a").numel(), 0);
  const Checkpoint odd = Checkpoint::open(kSamples / "safetensors_ok/odd_alignment.safetensors");
  EXPECT_EQ(odd.map("a").item<float>(), 2.5f);
  EXPECT_EQ(odd.map("p").item<uint8_t>(), 9);
}

TEST(Safetensors, WritesWhatItReads) {
  const TemporaryFolder folder;
  std::map<std::string, at::Tensor> tensors = {{"a.byte", at::arange(3, at::kByte)},
                                               {"b.scalar", at::scalar_tensor(2.5)},
                                               {"c.transposed", at::arange(6, at::kFloat).view({2, 3}).t()},
                                               {"d.empty", at::empty({0, 7})},
                                               {"e.bf16", at::arange(5).to(at::kBFloat16)},
                                               {"f.long", at::arange(2)},
                                               {"g.fp8", at::ones({3}).to(at::kFloat8_e4m3fn)},
                                               {"h.bool", at::ones({1}, at::kBool)},
                                               {"i.double \"quoted\"\n", at::ones({2}, at::kDouble)}};
  write_safetensors(folder / "one.safetensors", tensors, {{"made by", "a test"}, {"kind", "latents"}});
  write_safetensors(folder / "two.safetensors", tensors, {{"kind", "latents"}, {"made by", "a test"}});
  EXPECT_EQ(content_of(folder / "one.safetensors"), content_of(folder / "two.safetensors"));
  const Checkpoint read = Checkpoint::open(folder / "one.safetensors");
  ASSERT_EQ(read.tensors().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor got = read.map(name);
    EXPECT_EQ(got.scalar_type(), tensor.scalar_type()) << name;
    EXPECT_EQ(max_abs_difference(got, tensor), 0) << name;
    EXPECT_EQ(read.tensors().at(name).offset % tensor.element_size(), 0u) << name;
  }
  EXPECT_EQ(read_safetensors_metadata(read.files()[0]).at("kind"), "latents");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 2) << "nothing is left beside the files";
}

TEST(Safetensors, ADigestTellsDamage) {
  const TemporaryFolder folder;
  const fs::path path = folder / "a.safetensors";
  const std::map<std::string, std::string> metadata = {{"frames", "17"}, {"text", "\"sha256\":\"0000"}};
  write_with_digest(path, {{"x", at::arange(40, at::kFloat)}, {"y", at::ones({3})}}, metadata);
  EXPECT_TRUE(is_undamaged(path));
  EXPECT_EQ(read_safetensors_metadata(MappedFile::open(path)), metadata) << "the digest is not the caller's";
  EXPECT_TRUE(at::equal(Checkpoint::open(path).map("x"), at::arange(40, at::kFloat)));
  const std::string whole = content_of(path);
  for (size_t at = 0; at < whole.size(); at += 7) {
    std::string damaged = whole;
    damaged[at] ^= 1;
    std::ofstream(path, std::ios::binary) << damaged;
    EXPECT_FALSE(is_undamaged(path)) << at;
  }
  for (const std::string& other : {std::string(), whole.substr(0, whole.size() / 2), whole + "x"}) {
    std::ofstream(path, std::ios::binary) << other;
    EXPECT_FALSE(is_undamaged(path)) << other.size();
  }
  write_safetensors(path, {{"x", at::ones({3})}});
  EXPECT_FALSE(is_undamaged(path)) << "has none";
  EXPECT_FALSE(is_undamaged(folder / "absent"));
}

TEST(Safetensors, AFailedWriteLeavesNothing) {
  const TemporaryFolder folder;
  EXPECT_THROW(write_safetensors(folder / "absent" / "x.safetensors", {}), std::runtime_error);
  fs::create_directories(folder / "taken.safetensors" / "inside");  // the name cannot be given to a file
  EXPECT_THROW(write_safetensors(folder / "taken.safetensors", {{"a", at::ones({4})}}), std::runtime_error);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

TEST(Safetensors, AMappedTensorOutlivesItsCheckpoint) {
  const TemporaryFolder folder;
  write_safetensors(folder / "x.safetensors", {{"a", at::arange(1000)}});
  at::Tensor a = Checkpoint::open(folder / "x.safetensors").map("a");
  fs::remove(folder / "x.safetensors");
  EXPECT_TRUE(at::equal(a.slice(0, 10), at::arange(10, 1000)));
}

}  // namespace wan
