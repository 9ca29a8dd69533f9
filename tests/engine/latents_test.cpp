// What lies beside a job and inside its video comes back, and what a stranger made of it is refused.
#include "engine/job/latents.h"

#include <fstream>
#include <sstream>

#include "engine/base/error.h"
#include "models/weights/format/safetensors.h"
#include "tests/support.h"

namespace wan {
namespace {

/// A record as another program could write it.
std::string record_text(const std::string& request) {
  return R"({"wan_infer": "1", "device": "cpu", "dtype": "float32", "noise_device": "cpu", "files": [], "request": )" +
         request + "}";
}

TEST(Latents, ComeBack) {
  TemporaryFolder folder;
  const SavedLatents saved{.latents = at::arange(16 * 5 * 4 * 6, at::kFloat).view({16, 5, 4, 6}),
                           .frames = 17,
                           .audio_from = folder / "a.mp4",
                           .record = parse_record(record_text(R"({"task": "t2v", "prompt": "a fox"})"), "video")};
  const std::filesystem::path path = folder / "a.latents.safetensors";
  save_latents(path, saved);
  SavedLatents back = load_latents(path);
  EXPECT_TRUE(at::equal(back.latents, saved.latents));
  EXPECT_EQ(back.frames, 17);
  EXPECT_EQ(back.audio_from, "a.mp4") << "looked for in the current folder";
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  EXPECT_EQ(bytes.str().find(folder.path().filename()), std::string::npos) << "names only";
  std::filesystem::create_directory(folder / "moved");
  std::filesystem::rename(path, folder / "moved/a");
  std::ofstream(folder / "moved/a.mp4") << "sound";
  EXPECT_EQ(load_latents(folder / "moved/a").audio_from, (folder / "moved/a.mp4").string());
  EXPECT_EQ(to_text(back.record), to_text(saved.record));
}

TEST(Latents, OfNoRequestAreRefused) {
  TemporaryFolder folder;
  const std::string text = record_text(R"({"task": "t2v", "prompt": ""})");
  struct Row {
    at::Tensor latents;
    std::string frames;
  };
  const at::Tensor good = at::zeros({16, 5, 4, 6});
  for (const Row& row : std::vector<Row>{{good.to(at::kHalf), "17"},
                                         {good.to(at::kLong), "17"},
                                         {good[0], "17"},
                                         {at::zeros({15, 5, 4, 6}), "17"},
                                         {at::zeros({16, 5, 0, 6}), "17"},
                                         {at::zeros({16, 5, 4, 5}), "17"},
                                         {at::zeros({16, 1, 2, 2050}), "1"},
                                         {good, "18"},
                                         {good, "0"},
                                         {good, "many"}}) {
    write_safetensors(folder / "l", {{"latents", row.latents}}, {{"wan_infer", text}, {"frames", row.frames}});
    EXPECT_THROW(load_latents(folder / "l"), InvalidRequest) << row.latents.sizes() << " " << row.frames;
  }
  write_safetensors(folder / "l", {{"latents", good}}, {{"wan_infer", text}, {"frames", "17"}});
  EXPECT_NO_THROW(load_latents(folder / "l"));
}

TEST(Latents, SayWhyTheyCannotBeRead) {
  TemporaryFolder folder;
  const auto refusal = [&](const char* name) {
    try {
      load_latents(folder / name);
    } catch (const InvalidRequest& invalid) {
      return std::string(invalid.what());
    }
    return std::string();
  };
  EXPECT_NE(refusal("absent").find("there is no file 'absent'"), std::string::npos) << refusal("absent");
  std::ofstream(folder / "page") << "<!DOCTYPE html><html></html>";
  EXPECT_NE(refusal("page").find("is a web page"), std::string::npos) << refusal("page");
  write_safetensors(folder / "cut", {{"latents", at::zeros({16, 5, 4, 6})}}, {});
  std::filesystem::resize_file(folder / "cut", 4000);
  EXPECT_NE(refusal("cut").find("4000"), std::string::npos) << refusal("cut");
  for (const char* name : {"page", "cut"}) {
    EXPECT_TRUE(refusal(name).ends_with("; copy it again from beside the output of its render")) << refusal(name);
    EXPECT_EQ(refusal(name).find('\n'), std::string::npos);
  }
}

TEST(Record, OfAStrangerIsRefusedHoweverDeepItGoes) {
  constexpr int kDeep = 200'000;
  const std::string deep = std::string(kDeep, '[') + std::string(kDeep, ']');
  for (const std::string& request : {deep, "{\"task\": " + deep + "}", "{\"task\": \"t2v\", \"prompt\": " + deep + "}",
                                     std::string("3"), std::string("{\"task\": \"t2v\", \"prompt\": 3}")})
    EXPECT_THROW(parse_record(record_text(request), "video"), InvalidRequest) << request.substr(0, 40);
  for (const char* text : {"", "[]", "{}", "{\"request\": {\"task\": \"t2v\", \"prompt\": \"\"}}"})
    EXPECT_THROW(parse_record(text, "video"), InvalidRequest) << text;
}

}  // namespace
}  // namespace wan
