#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>

#include "models/files/error.h"
#include "models/weights/checkpoint.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"
#include "tests/support/checkpoint_files.h"

namespace wan {

namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

const fs::path kSamples = fs::path(WAN_SOURCE_DIR) / "tests/formats";

/// An archive with this pickle and 16 floats as storage "0".
fs::path archive_with(const TemporaryFolder& folder, const std::string& pickle) {
  const fs::path path = folder / "made.pth";
  ZipWriter zip(path);
  zip.add("made/data.pkl", pickle);
  zip.add("made/data/0", std::string(64, '\0'));
  zip.finish();
  return path;
}

const std::string kStorage =
    "(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0"
    "0X\x03\0\0\0cpuK\x10tQ"s;
/// {"w": _rebuild_tensor_v2(storage "0", offset, sizes, strides, False, OrderedDict())}; the arguments are pickled.
std::string one_tensor(const std::string& offset, const std::string& sizes, const std::string& strides) {
  return "\x80\x02}X\x01\0\0\0w"s + "ctorch._utils\n_rebuild_tensor_v2\n(" + kStorage + offset + sizes + strides +
         "\x89" + "ccollections\nOrderedDict\n)RtRs.";
}

}  // namespace

TEST(Pickle, LoadsEverySampleWithItsValues) {
  const Checkpoint expected = Checkpoint::open(kSamples / "pickle/expected.safetensors");
  int files = 0;
  for (const auto& entry : fs::directory_iterator(kSamples / "pickle")) {
    if (entry.path().extension() == ".safetensors") continue;
    SCOPED_TRACE(entry.path().filename().string());
    const Checkpoint got = Checkpoint::open(entry.path());
    EXPECT_EQ(got.tensors().size(), entry.path().stem() == "zip_parameters" ? 8 : expected.tensors().size());
    for (const auto& [name, stored] : got.tensors()) {
      const at::Tensor want = expected.map(name);
      EXPECT_EQ(stored.dtype, want.scalar_type()) << name;
      EXPECT_EQ(max_abs_difference(got.map(name), want), 0) << name;
    }
    ++files;
  }
  EXPECT_EQ(files, 6);
}

TEST(Pickle, RefusesEveryBadSampleAndSaysWhy) {
  const std::map<std::string, std::string> reasons = {
      {"bad_storage_type", "asks for os.system, which was not run"},
      {"builtins_eval", "asks for builtins.eval, which was not run"},
      {"deflated", "is compressed or encrypted"},
      {"getattr_chain", "asks for builtins.getattr"},
      {"global_os_system", "asks for os.system, which was not run"},
      {"inst_opcode", "protocol 2 to 4"},
      {"legacy_os_system", "asks for os.system, which was not run"},
      {"memo_bomb", "holds none"},
      {"missing_storage", "must hold the storage 0, does not"},
      {"negative_offset", "impossible sizes or strides"},
      {"negative_stride", "impossible sizes or strides"},
      {"obj_newobj", "asks for subprocess.Popen"},
      {"path_key", "names one \"../../x\""},
      {"short_storage", "a.weight] must have a storage of 256 bytes, has 128"},
      {"stack_global", "asks for posix.system"},
      {"stride_overflow", "does not lie inside its storage 0 of 16 elements"},
      {"truncated", "is cut short or holds other data at its end"},
      {"unknown_global", "asks for mypkg.mymodule.MyModel"},
      {"view_past_end", "does not lie inside its storage 0 of 16 elements"},
  };
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(kSamples / "pickle_bad")) {
    const std::string name = entry.path().stem().string();
    ASSERT_TRUE(reasons.contains(name)) << name;
    const std::string why = refusal_of(entry.path());
    EXPECT_NE(why.find(reasons.at(name)), std::string::npos) << name << ": " << why;
    ++files;
  }
  EXPECT_EQ(files, reasons.size());
}

TEST(Pickle, ExecutesNothing) {
  const TemporaryFolder folder;
  const std::string command = "touch " + (folder / "executed").string();
  const std::string argument = "X"s + static_cast<char>(command.size()) + "\0\0\0"s + command;
  const std::string system =
      "\x80\x02"
      "cos\nsystem\n(" +
      argument + "tR.";
  EXPECT_NE(refusal_of(archive_with(folder, system)).find("os.system"), std::string::npos);
  // The same call as the state of an OrderedDict, which is read and dropped.
  const std::string state =
      "\x80\x02"
      "ccollections\nOrderedDict\n)Rcos\nsystem\n(" +
      argument + "tRb.";
  EXPECT_NE(refusal_of(archive_with(folder, state)).find("os.system"), std::string::npos);
  EXPECT_FALSE(fs::exists(folder / "executed"));
}

TEST(Pickle, NamesTheOpcodeItRefuses) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& body) { return refusal_of(archive_with(folder, "\x80\x02" + body)); };
  EXPECT_NE(refused("(ios\nsystem\n.").find("opcode INST"), std::string::npos);
  EXPECT_NE(refused("ccollections\nOrderedDict\n)\x81.").find("opcode NEWOBJ"), std::string::npos);
  EXPECT_NE(refused("\x82\x01.").find("opcode EXT"), std::string::npos);
  EXPECT_NE(refused("\xff.").find("opcode 0xFF"), std::string::npos);
  EXPECT_NE(refusal_of(archive_with(folder, "\x80\x05.")).find("protocol 2 to 4, has 5"), std::string::npos);
}

TEST(Pickle, TextsOfPython2AreTexts) {
  const TemporaryFolder folder;
  const std::string sizes = "K\x02K\x03\x86", strides = "K\x03K\x01\x86";
  std::string old = one_tensor("K\x01", sizes, strides);
  for (const auto& [now, then] :
       {std::pair("X\x07\0\0\0storage"s, "U\x07storage"s), std::pair("X\x01\0\0\0w"s, "U\x01w"s),
        std::pair("X\x01\0\0\0\x30"s, "T\x01\0\0\0\x30"s), std::pair("X\x03\0\0\0cpu"s, "U\x03"s + "cpu")}) {
    const size_t at = old.find(now);
    ASSERT_NE(at, std::string::npos) << now;
    old.replace(at, now.size(), then);
  }
  const Checkpoint read = Checkpoint::open(archive_with(folder, old));
  ASSERT_TRUE(read.tensors().contains("w"));
  EXPECT_EQ(read.tensors().at("w").shape, (std::vector<int64_t>{2, 3}));
  const auto refused = [&](const std::string& program) {
    return refusal_of(archive_with(folder, "\x80\x02" + program));
  };
  EXPECT_NE(refused("U\x09"
                    "abc."),
            "")
      << "longer than the file";
  EXPECT_NE(refused("T\xff\xff\xff\xff"
                    "abc."),
            "")
      << "a negative length";
}

TEST(Pickle, AnOrderedDictMayBeMadeOfPairs) {
  const TemporaryFolder folder;
  // OrderedDict([["w", tensor]]), the tensor with sizes (2, 3).
  std::string pairs = one_tensor("K\x01", "K\x02K\x03\x86", "K\x03K\x01\x86");
  pairs.replace(2, 1, "ccollections\nOrderedDict\n]]");  // in place of the empty dict: the list, and its first pair
  const size_t key = pairs.find("X\x01\0\0\0w"s);
  pairs.insert(key, "(");
  pairs.replace(pairs.size() - 2, 2, "ea\x85R.");
  const Checkpoint read = Checkpoint::open(archive_with(folder, pairs));
  ASSERT_TRUE(read.tensors().contains("w"));
  EXPECT_EQ(read.tensors().at("w").shape, (std::vector<int64_t>{2, 3}));

  const auto refused = [&](const std::string& argument) {
    return refusal_of(archive_with(folder,
                                   "\x80\x02"
                                   "ccollections\nOrderedDict\n" +
                                       argument + "\x85R."));
  };
  EXPECT_NE(refused("K\x01").find("makes an OrderedDict in an unknown way"), std::string::npos);
  EXPECT_NE(refused("]K\x01"
                    "a")
                .find("of something else than pairs"),
            std::string::npos);
  EXPECT_NE(refused("]]K\x01"
                    "aa")
                .find("of something else than pairs"),
            std::string::npos);
  // One list of a thousand pairs, made a dict again and again.
  std::string bomb =
      "\x80\x02"
      "ccollections\nOrderedDict\nq\x01](";
  for (int i = 0; i < 1000; ++i) bomb += "K\x01K\x01\x86";
  bomb += "eq\x02";
  for (int i = 0; i < 3000; ++i) bomb += "h\x01h\x02\x85R";
  EXPECT_NE(refusal_of(archive_with(folder, bomb + ".")).find("less than two million values"), std::string::npos);
}

TEST(Pickle, RefusesBrokenPrograms) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& body) { return refusal_of(archive_with(folder, "\x80\x02" + body)); };
  for (const std::string& body : {"."s, "R."s, "t."s, "a."s, "}u."s, "}(Ns"s, "h\x05."s, "j\0\0\0\x10."s, "Q."s, "b."s,
                                  "NQ."s, "q\0."s, "}(Nu."s, "X\xff\xff\xff\xff."s,
                                  "\x8a\x09"
                                  "123456789."s,
                                  "cos"s, "(K\x01\x85."s, "]K\x01s."s, "\x93."s}) {
    EXPECT_NE(refused(body), "") << body;
  }
}

TEST(Pickle, IsBoundedInDepthAndNumber) {
  const TemporaryFolder folder;
  // A tuple in a tuple, a million deep: neither built nor released by recursion.
  EXPECT_NE(refusal_of(archive_with(folder, "\x80\x02)" + std::string(1'000'000, '\x85') + ".")).find("holds none"),
            std::string::npos);
  EXPECT_NE(refusal_of(archive_with(folder, "\x80\x02" + std::string(3'000'000, 'N') + ".")).find("two million"),
            std::string::npos);
  // A list that holds itself.
  EXPECT_NE(refusal_of(archive_with(folder,
                                    "\x80\x02]q\x01h\x01"
                                    "a."s))
                .find("holds none"),
            std::string::npos);
  // A dict that is its own state dict.
  EXPECT_NE(refusal_of(archive_with(folder, "\x80\x02}q\x01X\x0a\0\0\0state_dicth\x01s."s)).find("holds none"),
            std::string::npos);
}

TEST(Pickle, ViewsMustLieInsideTheirStorage) {
  const TemporaryFolder folder;
  const std::string four = "K\x04\x85", one = "K\x01\x85";
  EXPECT_EQ(refusal_of(archive_with(folder, one_tensor("K\x0c", four, one))), "");
  const auto refused = [&](const std::string& offset, const std::string& sizes, const std::string& strides) {
    return refusal_of(archive_with(folder, one_tensor(offset, sizes, strides))).find("does not lie inside") !=
           std::string::npos;
  };
  EXPECT_TRUE(refused("K\x0d", four, one));
  EXPECT_TRUE(refused("K\x0c", four, "K\x02\x85"));
  EXPECT_TRUE(refused("K\0"s, "K\x11\x85", "K\0\x85"s))
      << "expanded past the storage: takes more memory than the file has";
  EXPECT_TRUE(refused("K\x11", "K\0\x85"s, one)) << "an empty tensor past the end";
  const std::string huge = "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
  EXPECT_TRUE(refused("K\x0c", four, huge + "\x85"));
  EXPECT_TRUE(refused(huge, four, one));
  EXPECT_TRUE(refused("K\0"s, huge + huge + "\x86", "K\0K\0\x86"s));
  EXPECT_NE(refusal_of(archive_with(folder, one_tensor("K\0"s, four + "\x85", one))).find("number"), std::string::npos);
  EXPECT_NE(refusal_of(archive_with(folder, one_tensor("K\0"s, four, "K\x01K\x01\x86"))).find("impossible"),
            std::string::npos);
}

TEST(Pickle, NamesMustBeUtf8) {
  const TemporaryFolder folder;
  std::string pickle = one_tensor("K\0"s, "K\x04\x85", "K\x01\x85");
  pickle[pickle.find('w')] = '\xff';
  EXPECT_NE(refusal_of(archive_with(folder, pickle)).find("must have names in UTF-8, \\xFF"), std::string::npos);
}

TEST(Pickle, TheArchiveMustBeWhole) {
  const TemporaryFolder folder;
  const std::string pickle = one_tensor("K\0"s, "K\x04\x85", "K\x01\x85");
  const auto refused = [&](const std::vector<std::pair<std::string, std::string>>& records) {
    ZipWriter zip(folder / "x.pth");
    for (const auto& [name, bytes] : records) zip.add(name, bytes);
    zip.finish();
    return refusal_of(folder / "x.pth");
  };
  const std::string floats(64, '\0');
  EXPECT_EQ(refused({{"x/data.pkl", pickle}, {"x/data/0", floats}}), "");
  EXPECT_NE(refused({{"x/data.pkl", pickle}, {"x/data/0", floats}, {"x/data/0", floats}}).find("twice"),
            std::string::npos);
  EXPECT_NE(refused({{"x/data.pkl", pickle}, {"y/data.pkl", pickle}, {"x/data/0", floats}}).find("several"),
            std::string::npos);
  EXPECT_NE(refused({{"x/data.pkl", pickle}, {"y/data/0", floats}}).find("must hold the storage 0"), std::string::npos);
  EXPECT_NE(refused({{"word/document.xml", "<x/>"}}).find("another zip archive"), std::string::npos);
  EXPECT_NE(refused({{"x/data.pkl", pickle}, {"x/data/0", floats}, {"x/byteorder", "big"}}).find("little-endian"),
            std::string::npos);
}

TEST(Pickle, TheZipTableMustAgreeWithTheRecords) {
  const TemporaryFolder folder;
  const fs::path path = archive_with(folder, one_tensor("K\0"s, "K\x04\x85", "K\x01\x85"));
  std::ifstream file(path, std::ios::binary);
  const std::string whole{std::istreambuf_iterator<char>(file), {}};
  const size_t end = whole.rfind("PK\x05\x06"), entry = whole.find("PK\x01\x02");
  const auto refused = [&](size_t at, const std::string& bytes) {
    std::string patched = whole;
    std::ofstream(path, std::ios::binary) << patched.replace(at, bytes.size(), bytes);
    return refusal_of(path);
  };
  EXPECT_EQ(refused(end, "PK"), "");
  EXPECT_NE(refused(30, "M").find("contradicts the zip table"), std::string::npos) << "another name in the record";
  EXPECT_NE(refused(8, "\x08").find("contradicts the zip table"), std::string::npos) << "another method in the record";
  EXPECT_NE(refused(entry + 10, "\x08").find("contradicts the zip table"), std::string::npos)
      << "compressed, as the table alone says";
  EXPECT_NE(refused(entry + 8, "\x09").find("encrypted"), std::string::npos);
  EXPECT_NE(refused(entry + 20, "\x01").find("broken entry"), std::string::npos) << "packed size is not the size";
  EXPECT_NE(refused(entry + 20, "\xff\xff\xff\x7f\xff\xff\xff\x7f").find("ends too early"), std::string::npos);
  EXPECT_NE(refused(entry + 42, "\xff\xff\xff\x7f").find("broken entry"), std::string::npos) << "a record past the end";
  EXPECT_NE(refused(end + 10, "\x01").find("more in its zip table than it counts"), std::string::npos);
  EXPECT_NE(refused(end + 10, "\x03").find("ends too early"), std::string::npos);
  EXPECT_NE(refused(end + 16, "\xff\xff\xff\x7f").find("must have its table inside"), std::string::npos);
}

TEST(Pickle, ATruncatedFileIsRefusedWhereverItEnds) {
  const TemporaryFolder folder;
  for (const char* name : {"zip_state_dict.pth", "legacy_state_dict.pth"}) {
    std::ifstream file(kSamples / "pickle" / name, std::ios::binary);
    const std::string whole{std::istreambuf_iterator<char>(file), {}};
    for (size_t size = 0; size < whole.size(); size += 31) {
      std::ofstream(folder / "cut.pth", std::ios::binary) << whole.substr(0, size);
      EXPECT_NE(refusal_of(folder / "cut.pth"), "") << name << " cut to " << size;
    }
  }
}

}  // namespace wan
