// TorchScript archives as data: tensors by the paths of their attributes, and what is refused of hostile ones.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>

#include "models/recognise.h"
#include "models/weights/checkpoint.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"
#include "tests/support/checkpoint_files.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

using Attributes = std::vector<std::pair<std::string, std::string>>;  // name, pickled value

std::string pickled(const std::string& text) {
  const auto size = static_cast<uint32_t>(text.size());
  return "X" + std::string(reinterpret_cast<const char*>(&size), 4) + text;
}

std::string dict(const Attributes& attributes) {
  std::string items;
  for (const auto& [name, value] : attributes) items += pickled(name) + value;
  return "}(" + items + "u";
}

std::string bare_object(const std::string& type) {
  return "c__torch__." + type + "\n)\x81";
}

/// As torch.jit.save writes an object: its class, no arguments, a dict of attributes.
std::string object(const std::string& type, const Attributes& attributes) {
  return bare_object(type) + dict(attributes) + "b";
}

/// `count` floats of the storage "0" from `offset` on.
std::string tensor(char offset, char count) {
  return "ctorch._utils\n_rebuild_tensor_v2\n((" + pickled("storage") + "ctorch\nFloatStorage\n" + pickled("0") +
         pickled("cpu") + "K\x10tQK" + offset + "K" + count + "\x85K\x01\x85\x89" + "ccollections\nOrderedDict\n)RtR";
}

std::string whole(const std::string& value) {
  return "\x80\x02" + value + ".";
}

/// What torch.jit.save writes beside: code, and constants of it.
void write_archive(const fs::path& path, const std::string& pickle, uint64_t floats = 16) {
  ZipWriter zip(path);
  std::string values;
  for (int i = 0; i < 16; ++i) {
    const float value = static_cast<float>(i);
    values.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  zip.add("net/data.pkl", pickle);
  zip.add("net/data/0", values.substr(0, floats * sizeof(float)));
  zip.add("net/code/__torch__/net.py", "class Net(Module):\n  def forward(self):\n    return run()\n");
  zip.add("net/constants.pkl", "\x80\x02).");
  zip.add("net/byteorder", "little");
  zip.finish();
}

class ScriptArchive : public testing::Test {
 protected:
  std::string refused(const std::string& value, uint64_t floats = 16) {
    write_archive(path, whole(value), floats);
    return refusal_of(path);
  }
  /// Whether it is refused for this reason.
  testing::AssertionResult is_refused(const std::string& value, const std::string& why, uint64_t floats = 16) {
    const std::string words = refused(value, floats);
    if (words.find(why) != std::string::npos) return testing::AssertionSuccess();
    return testing::AssertionFailure() << "wanted \"" << why << "\", got \"" << words << "\"";
  }
  /// Overwrites bytes of the archive.
  void patch(const std::vector<std::pair<size_t, std::string>>& changes) {
    std::string bytes = content_of(path);
    for (const auto& [at, change] : changes) bytes.replace(at, change.size(), change);
    std::ofstream(path, std::ios::binary) << bytes;
  }
  /// Where the record's own header and its entry in the table begin.
  std::pair<size_t, size_t> headers_of(const std::string& record) {
    const std::string bytes = content_of(path);
    return {bytes.find(record) - 30, bytes.rfind(record) - 46};
  }
  /// Says that a record is compressed, to more bytes than the archive has.
  void compress(const std::string& record) {
    const auto [local, entry] = headers_of(record);
    patch({{local + 8, "\x08"}, {local + 22, "\0\0\0\x7f"s}, {entry + 10, "\x08"}, {entry + 24, "\0\0\0\x7f"s}});
  }

  const TemporaryFolder folder;
  const fs::path path = folder / "net.pt";
};

}  // namespace

TEST_F(ScriptArchive, GivesTensorsByThePathsOfTheirAttributes) {
  const std::string convolution = object("torch.nn.modules.conv.___torch_mangle_3\nConv2d",
                                         {{"weight", tensor(2, 4)}, {"bias", tensor(6, 1)}, {"training", "\x89"}});
  const std::string sizes = "ctorch.jit._pickle\nbuild_intlist\n](K\x01K\x02" + "e\x85R"s;
  const std::string tagged = "ctorch.jit._pickle\nrestore_type_tag\n}"s + pickled("Dict[str, int]") + "\x86R";
  const std::string shared = convolution + "q\x07";
  const std::string list =
      object("torch.nn.modules.container\nModuleList", {{"0", shared}, {"1", "h\x07"}, {"training", "\x89"}});
  write_archive(path, whole(object("net\nNet", {{"levels", "K\x07"},
                                                {"sizes", sizes},
                                                {"table", tagged},
                                                {"convs", list},
                                                {"none", "N"},
                                                {"mean", tensor(0, 2)}})));
  const Checkpoint read = Checkpoint::open(path);
  std::vector<std::string> names;
  for (const auto& entry : read.tensors()) names.push_back(entry.first);
  EXPECT_EQ(names,
            (std::vector<std::string>{"convs.0.bias", "convs.0.weight", "convs.1.bias", "convs.1.weight", "mean"}));
  EXPECT_TRUE(at::equal(read.map("convs.1.weight"), at::arange(2, 6, at::kFloat)));
  EXPECT_TRUE(at::equal(read.map("convs.0.bias"), at::full({1}, 6, at::kFloat)));
  EXPECT_TRUE(at::equal(read.map("mean"), at::arange(2, at::kFloat)));
}

TEST_F(ScriptArchive, CompressedCodeIsNotLookedAt) {
  write_archive(path, whole(object("net\nNet", {{"w", tensor(0, 4)}})));
  compress("net/code/__torch__/net.py");
  EXPECT_EQ(refusal_of(path), "");
  for (const char* needed : {"net/data.pkl", "net/data/0", "net/byteorder"}) {
    write_archive(path, whole(object("net\nNet", {{"w", tensor(0, 4)}})));
    compress(needed);
    EXPECT_NE(refusal_of(path).find(std::string(needed) + "] must be stored as it is, is compressed"),
              std::string::npos)
        << refusal_of(path);
  }
}

TEST_F(ScriptArchive, IsRecognised) {
  const std::string empty = object("net\nPart", {{"weight", tensor(0, 4)}});
  write_archive(path, whole(object("net\nNet", {{"extract", empty}, {"predict_flow", empty}, {"fuse", empty}})));
  EXPECT_EQ(recognise(Checkpoint::open(path).tensors()).name, "FILM frame interpolation");
}

TEST_F(ScriptArchive, ObjectsMayNotHoldThemselves) {
  const std::string itself = bare_object("net\nNet") + "q\x01" + dict({{"w", tensor(0, 4)}, {"again", "h\x01"}}) + "b";
  EXPECT_TRUE(is_refused(itself, "has a Net that holds itself, at again"));
  const std::string inner = object("net\nInner", {{"up", "h\x01"}});
  const std::string farther = bare_object("net\nNet") + "q\x01" + dict({{"w", tensor(0, 4)}, {"down", inner}}) + "b";
  EXPECT_TRUE(is_refused(farther, "has a Net that holds itself, at down.up"));
}

TEST_F(ScriptArchive, DepthNumberAndNamesAreBounded) {
  const auto nested = [](int depth) {
    std::string value = object("net\nNet", {{"w", tensor(0, 4)}});
    for (int i = 1; i < depth; ++i) value = object("net\nNet", {{"n", value}});
    return value;
  };
  EXPECT_EQ(refused(nested(64)), "");
  EXPECT_TRUE(is_refused(nested(65), "at most 64 deep"));
  EXPECT_TRUE(is_refused(nested(2'000), "at most 64 deep"));
  // Each holds the one before twice: a billion paths.
  std::string doubling = object("net\nNet", {{"w", tensor(0, 4)}});
  for (char i = 0; i < 30; ++i)
    doubling = object("net\nNet", {{"a", doubling + "q" + std::string(1, i)}, {"b", "h" + std::string(1, i)}});
  EXPECT_TRUE(is_refused(doubling, "at most 50000 attributes"));
  EXPECT_TRUE(is_refused(object("net\nNet", {{std::string(513, 'n'), tensor(0, 4)}}), "at most 512 bytes"));
  EXPECT_TRUE(is_refused(object("net\nNet", {{"\xff", tensor(0, 4)}}), "must have names in UTF-8"));
  EXPECT_TRUE(is_refused(object("net\nNet", {{"w", tensor(0, 4)}, {"w", tensor(0, 4)}}), "the tensor w twice"));
  EXPECT_TRUE(is_refused(object("net\nNet", {{"levels", "K\x07"}}), "holds none"));
}

TEST_F(ScriptArchive, WhatIsNoAttributeIsRefusedByName) {
  EXPECT_TRUE(is_refused("cmypkg\nNet\n)\x81}b", "asks for mypkg.Net, which was not run"));
  EXPECT_TRUE(is_refused("c__torch__x\nNet\n)\x81}b", "asks for __torch__x.Net"));
  EXPECT_TRUE(is_refused(object("net\nNet", {{"d", "ctorch\ndevice\n" + pickled("cpu") + "\x85R"}}), "torch.device"));
  EXPECT_TRUE(is_refused(object("net\nNet", {{"q", "ctorch._utils\n_rebuild_qtensor\n)R"}}), "_rebuild_qtensor"));
  EXPECT_TRUE(is_refused("c__torch__.net\nNet\nK\x01\x85\x81}b", "makes a Net with arguments"));
  EXPECT_TRUE(is_refused("c__torch__.net\nNet\n)R", "calls something that is no function"));
  EXPECT_TRUE(is_refused("ccollections\nOrderedDict\n)\x81", "opcode NEWOBJ"));
  EXPECT_TRUE(is_refused(bare_object("net\nPacked") + "K\x01K\x02\x86" + "b", "a Packed whose state is no dict"));
  EXPECT_TRUE(is_refused(bare_object("net\nNet"), "a Net without attributes"));
  EXPECT_TRUE(is_refused(object("net\nNet", {}) + "}b", "a Net that is filled twice"));
  EXPECT_TRUE(is_refused("ctorch.jit._pickle\nbuild_intlist\n)R", "marks a type in an unknown way"));
  EXPECT_NE(refused(bare_object("net\nNet")).find("torch.jit.load(path).state_dict()"), std::string::npos);
}

TEST_F(ScriptArchive, TensorsMustLieInsideTheirStorages) {
  EXPECT_EQ(refused(object("net\nNet", {{"w", tensor(12, 4)}})), "");
  EXPECT_TRUE(is_refused(object("net\nNet", {{"w", tensor(13, 4)}}), "does not lie inside its storage 0"));
  EXPECT_TRUE(is_refused(object("net\nNet", {{"w", tensor(0, 4)}}), "must have a storage of 64 bytes, has 32", 8));
}

// A large dict, named as the state of many objects, is there once: else a file of 16 MB would take 100 GB.
TEST_F(ScriptArchive, AStateIsNotCopiedForEachObject) {
  std::string attributes;
  for (int i = 0; i < 10'000; ++i) attributes += pickled("n") + "N";
  std::string objects;
  for (int i = 0; i < 200'000; ++i) objects += "h\x02)\x81h\x01" + "b"s;
  const std::string value =
      "}(" + attributes + "uq\x01" + "c__torch__.net\nNet\nq\x02" + object("net\nNet", {}) + "(" + objects + "t";
  EXPECT_TRUE(is_refused(value, "holds none"));
}

TEST_F(ScriptArchive, RecordsMayNotOverlap) {
  // The record of storage 1 holds that of storage 0, which the table then names.
  ZipWriter inner(path);
  inner.add("net/data/0", std::string(64, '\0'));
  inner.finish();
  const std::string record = content_of(path).substr(0, 128);  // a header that is padded to 64 bytes, and its data
  ZipWriter outer(path);
  outer.add("net/data.pkl", whole(object("net\nNet", {{"w", tensor(0, 4)}})));
  outer.add("net/data/1", record + std::string(64, '\0'));
  outer.add("net/data/0", std::string(64, '\0'));
  outer.finish();
  EXPECT_EQ(refusal_of(path), "");
  const std::string bytes = content_of(path);
  const auto inside = static_cast<uint32_t>(bytes.find("net/data/1") + 10);
  const auto moved = static_cast<uint32_t>(bytes.find(record, inside));
  const size_t entry = bytes.rfind("net/data/0") - 46;
  patch({{entry + 42, std::string(reinterpret_cast<const char*>(&moved), 4)}});
  EXPECT_NE(refusal_of(path).find("must lie apart from other records, lies inside net/data/1"), std::string::npos)
      << refusal_of(path);
}

TEST_F(ScriptArchive, ACutArchiveIsRefusedWhereverItEnds) {
  write_archive(path, whole(object("net\nNet", {{"w", tensor(0, 4)}})));
  const std::string bytes = content_of(path);
  for (size_t size = 0; size < bytes.size(); size += 7) {
    std::ofstream(path, std::ios::binary) << bytes.substr(0, size);
    EXPECT_NE(refusal_of(path), "") << "cut to " << size;
  }
}

}  // namespace wan
