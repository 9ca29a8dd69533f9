// Files as strangers, downloads and other programs leave them.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <fstream>

#include "models/files/bus_error.h"
#include "models/files/error.h"
#include "models/files/foreign.h"
#include "models/files/json.h"
#ifndef WAN_CORE_ONLY
#include "models/text/tokenizer/tokenizer.h"
#endif
#include "models/wan/config.h"
#include "models/weights/checkpoint.h"
#include "models/weights/format/format.h"
#include "models/weights/format/safetensors.h"
#include "tests/support.h"
#include "tests/support/checkpoint_files.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

void write(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string broken(const std::string& text, const JsonLimits& limits = {}) {
  try {
    parse_json(text, limits);
  } catch (const BrokenJson& error) {
    return error.what();
  }
  return "accepted";
}

double peak_megabytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

TEST(Json, IsReadAsItIsWritten) {
  const std::string text = R"({"a":[1,-2,3.5,true,null,"x\n\u00e9",{"b":[]}],"c":{},"a2":18446744073709551615})";
  EXPECT_EQ(parse_json(text), nlohmann::json::parse(text));
  EXPECT_EQ(parse_json<nlohmann::ordered_json>(text).dump(), nlohmann::ordered_json::parse(text).dump());
  EXPECT_EQ(parse_json(R"({"a":1,"b":3,"a":2})").dump(), R"({"a":2,"b":3})") << "the last counts";
  EXPECT_EQ(parse_json("7"), 7);
  size_t count = 0;
  parse_json(text, {}, &count);
  EXPECT_EQ(count, 16u) << "12 values and 4 names";
}

TEST(Json, IsBounded) {
  EXPECT_EQ(broken("[[[]]]", {.depth = 3}), "accepted");
  EXPECT_EQ(broken("[[[[]]]]", {.depth = 3}), "must be JSON of at most 3 levels, is nested deeper");
  EXPECT_EQ(broken("[1,2,3]", {.values = 4}), "accepted");
  EXPECT_EQ(broken("[1,2,3,4]", {.values = 4}), "must have at most 4 values, has more");
  EXPECT_EQ(broken("[1,2]", {.bytes = 4}), "must have at most 4 bytes, has 5");
  EXPECT_EQ(broken(R"({"a":{"b":1,"b":2},"b":3})", {.unique_names = true}), "accepted");
  EXPECT_EQ(broken(R"({"a":1,"a":2})", {.unique_names = true}), "must have each name once");
}

TEST(Json, SaysWhatIsWrongInItsOwnWords) {
  EXPECT_EQ(broken("{\"a\": 1e999}"), "must be JSON with numbers below 1.8e308, has a larger one at byte 11");
  EXPECT_EQ(broken("{\"a\" 1}"), "must be JSON, breaks at byte 6");
  EXPECT_EQ(broken("{\"a\": [1,"), "is cut short: its JSON breaks off after 9 bytes");
  EXPECT_EQ(broken("{\"a\": \"\xff\"}"), "must be JSON, breaks at byte 8");
  EXPECT_EQ(broken(""), "must be JSON, breaks at byte 1");
}

TEST(Json, OfTheUserSaysWhereItBreaksAndToCorrectIt) {
  const TemporaryFolder folder;
  const auto why = [&](const std::string& text, const JsonLimits& limits = {.unique_names = true}) {
    std::ofstream(folder / "mine.json", std::ios::binary) << text;
    return refusal_by([&] { read_written_json(*MappedFile::open(folder / "mine.json"), limits); });
  };
  EXPECT_EQ(why("{\n  \"a\": 1\n}\n"), "");
  EXPECT_EQ(why("{\n  \"a\": 1,\n  \"\u00e9\" 2\n}\n"),
            "[mine.json] must be JSON, breaks at line 3, column 7; correct it there, or in front of it");
  EXPECT_EQ(why("{\n  \"a\": 1,\n}\n"),
            "[mine.json] must be JSON, breaks at line 3, column 1; correct it there, or in front of it");
  EXPECT_EQ(why("{\"a\": [1,\n2\n"),
            "[mine.json] must be whole JSON, ends at line 3, column 1 with something open; close it");
  EXPECT_EQ(why("{\"a\": 1e999}"),
            "[mine.json] must be JSON with numbers below 1.8e308, has a larger one at line 1, column 11; correct it");
  EXPECT_EQ(why("{\"a\": 1, \"a\": 2}"), "[mine.json] must have each name once, has \"a\" twice; take one away");
  EXPECT_EQ(why(""), "[mine.json] must be JSON, is empty; write it, or name another file");
  EXPECT_EQ(why("no JSON at all"),
            "[mine.json] must be JSON, breaks at line 1, column 2; correct it there, or in front of it");
  EXPECT_EQ(why("[1, 2]", {.bytes = 4}),
            "[mine.json] must have at most 4 bytes, has 6; name the file that you wrote, or make it smaller");
  EXPECT_EQ(place_in("ab\ncd", 99), "line 2, column 3");
}

TEST(Json, TakesLittleMemoryAndTime) {
  const double before = peak_megabytes();
  const auto start = std::chrono::steady_clock::now();
  const JsonLimits wide = {.bytes = 64 << 20, .depth = 24, .values = 3'000'000};
  EXPECT_NE(broken(std::string(20'000'000, '['), wide), "accepted");
  std::string objects = "[{}";
  for (int i = 0; i < 300'000; ++i) objects += ",{}";  // quadratic with the library's callback
  EXPECT_EQ(broken(objects + "]", wide), "accepted");
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 5);
  EXPECT_LT(peak_megabytes() - before, 150);
}

TEST(Error, ShowsNamesOnOneShortLine) {
  EXPECT_EQ(shown_text("caf\xc3\xa9.png"), "caf\xc3\xa9.png");
  EXPECT_EQ(shown_text("a\nb\x1b[31m\xff\x7f"), "a\\x0Ab\\x1B[31m\\xFF\\x7F");
  EXPECT_EQ(shown_text("gpj.\xe2\x80\xae"
                       "exe"),
            "gpj.\\xE2\\x80\\xAE"
            "exe")
      << "text that runs backwards";
  const std::string cut = shown_text(std::string(70'000, 'a') + "\xc3\xa9.png");
  EXPECT_LT(cut.size(), 210u);
  EXPECT_TRUE(cut.ends_with("aaa\xc3\xa9.png")) << cut;
  EXPECT_LT(shown_name(std::string(70'000, '\n')).size(), 900u);
  EXPECT_LT(shown_name("/" + std::string(70'000, 'd') + "/x/y/" + std::string(70'000, 'f'), true).size(), 420u);
  const ModelErrors several({ModelError("a", "is b"), ModelError("/x/c", "is d")});
  EXPECT_STREQ(several.what(), "[a] is b\n[c] is d");
  ASSERT_EQ(several.list.size(), 2u);
  EXPECT_EQ(several.subject + several.text + several.list[1].subject + several.list[1].text, "ais bcis d");
  const ModelError split("x/y/a] b/c", "is [d] e; f");  // a name may hold what ends a subject
  EXPECT_STREQ(split.what(), "[x/y/a] b/c] is [d] e; f");
  EXPECT_EQ(split.subject, "x/y/a] b/c");
  EXPECT_EQ(split.text, "is [d] e; f");
}

TEST(Error, AFoldersNameMayHoldWhatStandsBeforeATensor) {
  const TemporaryFolder folder;
  const fs::path inner = folder / "a: b/c: d/e", file = inner / "f.safetensors";
  fs::create_directories(inner);
  std::ofstream(file) << "x";
  const auto subject = [](const std::string& about) { return ModelError(about, "is wrong").subject; };
  EXPECT_EQ(subject(file.string()), "e/f.safetensors");
  EXPECT_EQ(subject(file.string() + ": x"), "e/f.safetensors: x");
  EXPECT_EQ(subject(file.string() + ": x: y/z"), "e/f.safetensors: x: y/z");
  EXPECT_EQ(subject((inner / "gone.gguf").string()), "e/gone.gguf");
  const std::string tensor = subject((folder / "h.safetensors: x/y/z").string());
  EXPECT_TRUE(tensor.ends_with("h.safetensors: x/y/z")) << tensor << ": no folder of that name is there";
}

/// What is found in place of a file, and the words for it.
const std::map<std::string, std::string> kForeign = {
    {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9999999999\n", "is a Git LFS pointer"},
    {"<!DOCTYPE html>\n<html><body>Please log in</body></html>", "is a web page"},
    {"\n  <HTML><head></head></html>", "is a web page"},
    {"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "server's error message (AccessDenied)"},
    {"{\"error\":\"Repository not found\"}", "is a server's error message ("},
    {"Entry not found", "is a text, not the file itself: \"Entry not found\""},
    {"", "must not be empty; download it again"},
    {std::string(5000, '\0'), "begins with zeros"},
    {"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"s + std::string(50, 'x'), "is a gzip archive"},
    {"7z\xbc\xaf\x27\x1c" + std::string(50, 'x'), "is a 7z archive"},
    {"/annex/objects/SHA256E-s1--00.safetensors", "is a git-annex pointer"},
};

TEST(Foreign, IsNamedForEveryFileOfAModel) {
  const TemporaryFolder folder;
  const fs::path index = folder / "i/diffusion_pytorch_model.safetensors.index.json";
  for (const auto& [bytes, words] : kForeign) {
    const std::map<std::string, std::string> found = {
        {"safetensors",
         refusal_by([&] { write(folder / "x.safetensors", bytes), Checkpoint::open(folder / "x.safetensors"); })},
        {"pth", refusal_by([&] { write(folder / "x.pth", bytes), Checkpoint::open(folder / "x.pth"); })},
        {"blob", refusal_by([&] { write(folder / "0f3a", bytes), Checkpoint::open(folder / "0f3a"); })},
        {"index", refusal_by([&] { write(index, bytes), Checkpoint::open(index.parent_path()); })},
        {"config", refusal_by([&] { write(folder / "config.json", bytes), WanConfig::read(folder / "config.json"); })},
#ifndef WAN_CORE_ONLY
        {"json", refusal_by([&] { write(folder / "j/tokenizer.json", bytes), text::Tokenizer::open(folder / "j"); })},
        {"spiece", refusal_by([&] { write(folder / "s/spiece.model", bytes), text::Tokenizer::open(folder / "s"); })},
#endif
    };
    for (const auto& [door, why] : found) {
      if (door == "index" && bytes.starts_with('{')) continue;  // an index without a weight_map
      EXPECT_NE(why.find(words), std::string::npos) << door << ": " << why;
    }
  }
  write(folder / "x.safetensors", "PK\x03\x04\x00\x00\x08\x08"s + std::string(50, 'x'));
  EXPECT_NE(refusal_by([&] { Checkpoint::open(folder / "x.safetensors"); }).find("is a zip archive"),
            std::string::npos);
}

TEST(Foreign, WeightsUnderTheNameOfAnotherFormatAreToldTheirOwn) {
  const TemporaryFolder folder;
  const fs::path samples = WAN_SOURCE_DIR "/tests/formats";
  const struct {
    fs::path file;
    std::string words, name;
  } kinds[] = {{samples / "safetensors_ok/scalar.safetensors", "a safetensors file", ".safetensors"},
               {samples / "pickle/zip_state_dict.pth", "a torch file", ".pth"},
               {samples / "pickle/legacy_state_dict.pth", "a torch file", ".pth"},
               {samples / "gguf/q8_0.gguf", "a GGUF file", ".gguf"}};
  const std::map<std::string, std::string> endings = {{".safetensors", ".safetensors"},
                                                      {".sft", ".safetensors"},
                                                      {".pth", ".pth"},
                                                      {".pt", ".pth"},
                                                      {".bin", ".pth"},
                                                      {".pkl", ".pth"},
                                                      {".ckpt", ".pth"},
                                                      {".gguf", ".gguf"}};
  for (const auto& kind : kinds) {
    for (const auto& [ending, own] : endings) {
      const std::string name = "x" + ending;
      fs::copy_file(kind.file, folder / name, fs::copy_options::overwrite_existing);
      EXPECT_EQ(refusal_by([&] { Checkpoint::open(folder / name); }),
                kind.name == own ? "" : "[" + name + "] is " + kind.words + " under another name; name it " + kind.name)
          << kind.file;
    }
    fs::copy_file(kind.file, folder / "nameless", fs::copy_options::overwrite_existing);
    EXPECT_EQ(refusal_by([&] { Checkpoint::open(folder / "nameless"); }), "") << "by its first bytes";
    fs::copy_file(kind.file, folder / "config.json", fs::copy_options::overwrite_existing);
    EXPECT_EQ(refusal_by([&] { WanConfig::read(folder / "config.json"); }),
              "[config.json] is " + kind.words + ", not the file itself; take the file of the published model");
  }
}

TEST(Foreign, AGgufFileOf123TensorsIsNoSafetensorsFile) {
  const TemporaryFolder folder;
  write(folder / "nameless", "GGUF\3\0\0\0{\0\0\0\0\0\0\0"s + std::string(64, '\0'));  // '{' is 123
  const auto file = MappedFile::open(folder / "nameless");
  EXPECT_TRUE(format_of(*file)->has_extension(".gguf"));
}

TEST(Foreign, ACutFileSaysHowMuchIsThere) {
  const TemporaryFolder folder;
  write_safetensors(folder / "x.safetensors", {{"a", at::ones({4000})}, {"b", at::ones({4000})}});
  const std::string whole = content_of(folder / "x.safetensors");
  for (size_t size : {whole.size() - 1, whole.size() - 20'000, size_t(400)}) {
    write(folder / "x.safetensors", whole.substr(0, size));
    EXPECT_EQ(refusal_by([&] { Checkpoint::open(folder / "x.safetensors"); }),
              "[x.safetensors] is cut short: " + std::to_string(size) + " of " + std::to_string(whole.size()) +
                  " bytes are there; download it again");
  }
}

TEST(Foreign, UnfinishedDownloadsAreSeen) {
  const TemporaryFolder folder;
  EXPECT_EQ(unfinished_download(folder / "x.pth"), "");
  write(folder / "y.pth.part", "x");
  EXPECT_EQ(unfinished_download(folder / "x.pth"), "");
  EXPECT_EQ(unfinished_download(folder / "y.pth"), "y.pth.part");
  write(folder / ".cache/huggingface/download/high/a1b2.77.incomplete", "x");
  EXPECT_EQ(unfinished_download(folder / "high/x.safetensors"), "a1b2.77.incomplete");
  write(folder / "x.pth", "whole in size");
  EXPECT_NO_THROW(refuse_unfinished(folder / "x.pth"));
  write(folder / "x.pth.aria2", "");
  EXPECT_THROW(refuse_unfinished(folder / "x.pth"), ModelError);
}

/// In a child: looks at a byte of a file that was cut after it was mapped.
void read_cut(const fs::path& path) {
  install_bus_handler();
  const auto file = MappedFile::open(path);
  fs::resize_file(path, 10);
  std::exit(file->bytes()[90'000]);
}

TEST(BusError, OfACutFileEndsWithItsNameAndCodeThree) {
  const TemporaryFolder folder;
  write(folder / "x.safetensors", std::string(100'000, '\1'));
  EXPECT_EXIT(read_cut(folder / "x.safetensors"), testing::ExitedWithCode(3),
              "wan-infer: \\[x.safetensors\\] became shorter while it was read");
}

TEST(BusError, OfAnythingElseStaysASignal) {
  EXPECT_EXIT((install_bus_handler(), raise(SIGBUS)), testing::KilledBySignal(SIGBUS), "");
  const TemporaryFolder folder;
  write(folder / "x", std::string(100'000, '\1'));
  const auto unwatched = [&] {
    install_bus_handler();
    MappedFile::open(folder / "x");  // watched, and forgotten with its mapping
    FILE* file = std::fopen((folder / "x").c_str(), "r");
    const auto* bytes = static_cast<const char*>(mmap(nullptr, 100'000, PROT_READ, MAP_SHARED, fileno(file), 0));
    fs::resize_file(folder / "x", 10);
    std::exit(bytes[90'000]);
  };
  EXPECT_EXIT(unwatched(), testing::KilledBySignal(SIGBUS), "");
}

}  // namespace
}  // namespace wan
