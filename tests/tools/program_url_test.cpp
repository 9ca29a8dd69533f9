// The built program with inputs by URL, as a user runs it.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support.h"
#include "tests/support/web_server.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

const std::string kNano = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";
const std::string kPictures = WAN_SOURCE_DIR "/tests/golden/checkpoints/Wan2.2-I2V-A14B";
const std::string kVideo = WAN_SOURCE_DIR "/tests/golden/media/aac_sound.mp4";

using Words = std::vector<std::string>;

Words job(const std::string& url, const Words& more = {}) {
  Words words = {"v2v",
                 "--unlocked",
                 "--model",
                 kNano,
                 "--prompt",
                 "a red circle",
                 "--width",
                 "32",
                 "--height",
                 "32",
                 "--num-frames",
                 "5",
                 "--num-inference-steps",
                 "2",
                 "--seed",
                 "42",
                 "--device",
                 "cpu",
                 "--threads",
                 "1",
                 "--out",
                 "a.mp4",
                 "--video",
                 url};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

class ProgramUrl : public testing::Test {
 protected:
  Outcome run(const Words& words) { return Process("wan-infer", words, folder.path()).finish(); }

  TemporaryFolder folder;
  const WebServer server{[](WebClient& client) {
    if (client.path.starts_with("/video.mp4")) return client.answer("200 OK", "", content(kVideo));
    client.send("HTTP/1.1 200 OK\r\n\r\n");
    while (client.send(std::string(2000, 'x')) && client.wait(100)) {
    }
  }};
};

TEST_F(ProgramUrl, AnInterruptEndsALoadAtOnce) {
  Process process("wan-infer", job(server.url("/endless")), folder.path());
  for (int i = 0; i < 600 && server.requests() == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  ASSERT_EQ(server.requests(), 1);
  EXPECT_TRUE(process.wait_for("fetch 0.0"));
  const auto start = std::chrono::steady_clock::now();
  process.signal(SIGINT);
  const Outcome stopped = process.finish();
  EXPECT_EQ(stopped.code, 130) << stopped.err;
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  EXPECT_NE(stopped.err.find("wan-infer: [stop] interrupted; nothing is kept"), std::string::npos) << stopped.err;
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

// In no line, no file and no name.
TEST_F(ProgramUrl, SecretsOfAUrlStayWithTheServer) {
  const std::string url = server.url("/video.mp4?token=secret1", "anna:secret2@");
  const Outcome made = run(job(url));
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_NE(server.last_headers().find("authorization: basic "), std::string::npos);
  std::string seen = made.out + made.err + content(folder / "a.mp4");
  const Outcome table = run(job(url, {"--dry-run", "--log-format", "json"}));
  EXPECT_EQ(table.code, 0) << table.err;
  seen += table.out + run({"show", "a.mp4"}).out;
  for (const Words& wrong :
       {job(url + "x", {"--no-private-urls", "--overwrite"}), Words{"v2v", url}, Words{"v2v", "--" + url},
        Words{"show", url}, Words{"batch", url}, Words{"inspect", url}, Words{"t2v", "--video", url},
        Words{"v2v", "--video", "ftp" + url.substr(4), "--model", kNano, "--prompt", ""}}) {
    const Outcome refused = run(wrong);
    EXPECT_NE(refused.code, 0) << wrong.at(1);
    seen += refused.out + refused.err;
  }
  std::ofstream(folder / "list.jsonl") << R"({"task": "v2v", "prompt": "", "out": "b.mp4", "seed": 1, "video_url": ")"
                                       << server.url("/none?token=secret1", "anna:secret2@") << R"("})"
                                       << "\n";
  const Outcome batch = run({"batch", "list.jsonl", "--model", kNano, "--no-private-urls"});
  EXPECT_EQ(batch.code, 1) << batch.err;
  seen += batch.out + batch.err;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path()))
    if (entry.path().filename() != "list.jsonl") seen += entry.path().string() + content(entry.path());
  for (const char* secret : {"secret1", "secret2", "anna"})
    EXPECT_EQ(seen.find(secret), std::string::npos) << seen.substr(std::max<size_t>(seen.find(secret), 200) - 200, 400);
}

TEST_F(ProgramUrl, DecodeTakesSoundFromAUrl) {
  Process process("wan-infer", job(server.url("/video.mp4")), folder.path());
  ASSERT_TRUE(process.wait_for("decode 1/"));
  process.signal(SIGINT);
  ASSERT_EQ(process.finish().code, 130);
  std::string latents;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "a.mp4.work"))
    if (entry.path().string().ends_with(".latents.safetensors")) latents = entry.path().string();
  const Outcome finished =
      run({"decode", latents, "--model", kNano, "--video", server.url("/video.mp4"), "--threads", "1"});
  EXPECT_EQ(finished.code, 0) << finished.err;
  EXPECT_EQ(server.requests(), 2);
  EXPECT_TRUE(std::filesystem::exists(folder / "a.mp4"));
}

TEST_F(ProgramUrl, AReplayAsksOnce) {
  ASSERT_EQ(run(job(server.url("/video.mp4"))).code, 0);
  EXPECT_EQ(server.requests(), 1);
  const Outcome again = run({"replay", "a.mp4", "--model", kNano, "--threads", "1"});
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(server.requests(), 2);
  EXPECT_TRUE(content(folder / "a.mp4") == content(folder / "a-replay.mp4"));
  const Outcome refused = run({"replay", "a.mp4", "--model", kNano, "--no-private-urls", "--out", "b.mp4"});
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("'127.0.0.1' is in a private or local network; without --no-private-urls it may be asked"),
            std::string::npos)
      << refused.err;
  EXPECT_EQ(server.requests(), 2);
}

// Two pictures under one address: only the query tells them apart, which no file keeps.
TEST_F(ProgramUrl, AQueryNamesAnotherPicture) {
  const WebServer pictures{[](WebClient& client) {
    const std::string name = client.path.ends_with("id=1") ? "rgb.png" : "rgba.png";
    client.answer("200 OK", "", content(WAN_SOURCE_DIR "/tests/golden/media/" + name));
  }};
  const auto line = [&](const std::string& out, int id) {
    return R"({"task": "i2v", "prompt": "x", "out": ")" + out + R"(", "seed": 1, "num_frames": 1, "unlocked": true, )" +
           R"("width": 64, "height": 64, "num_inference_steps": 1, "device": "cpu", "image_url": ")" +
           pictures.url("/picture?id=" + std::to_string(id)) + "\"}\n";
  };
  std::ofstream(folder / "list.jsonl") << line("a.mp4", 1) << line("b.mp4", 2) << line("c.mp4", 1);
  const Words batch = {"batch", "list.jsonl", "--model", kPictures, "--threads", "1"};
  const Outcome made = run(batch);
  ASSERT_EQ(made.code, 0) << made.out << made.err;
  EXPECT_EQ(pictures.requests(), 2) << "each once";
  const auto digest = [&](const char* out) {
    return nlohmann::json::parse(run({"show", out}).out)["inputs"]["image_url"]["sha256"].get<std::string>();
  };
  EXPECT_NE(digest("a.mp4"), digest("b.mp4"));
  EXPECT_EQ(digest("a.mp4"), digest("c.mp4"));
  EXPECT_FALSE(content(folder / "a.mp4") == content(folder / "b.mp4"));

  // A single render does not take the other picture's video for its own.
  const auto single = [&](int id) {
    return run({"i2v",
                "--model",
                kPictures,
                "--prompt",
                "x",
                "--out",
                "d.mp4",
                "--seed",
                "1",
                "--num-frames",
                "1",
                "--unlocked",
                "--width",
                "64",
                "--height",
                "64",
                "--num-inference-steps",
                "1",
                "--device",
                "cpu",
                "--threads",
                "1",
                "--image",
                pictures.url("/picture?id=" + std::to_string(id))});
  };
  ASSERT_EQ(single(1).code, 0);
  EXPECT_EQ(single(1).code, 0) << "finished before";
  const Outcome other = single(2);
  EXPECT_EQ(other.code, 2) << other.err;
  EXPECT_NE(other.err.find("--overwrite"), std::string::npos) << other.err;
}

// A manifest may come from somebody else than who gives the command.
TEST_F(ProgramUrl, NoLineOfAManifestTakesBackTheCommand) {
  std::ofstream(folder / "list.jsonl") << R"({"task": "v2v", "prompt": "", "out": "b.mp4", "private_urls": true, )"
                                       << R"("video_url": ")" << server.url("/video.mp4") << R"("})"
                                       << "\n";
  const Outcome refused = run({"batch", "list.jsonl", "--model", kNano, "--no-private-urls"});
  EXPECT_EQ(refused.code, 2) << refused.err;
  EXPECT_NE(refused.err.find("must not be true where the command says --no-private-urls; leave it out"),
            std::string::npos)
      << refused.err;
  EXPECT_EQ(server.requests(), 0);
}

}  // namespace
}  // namespace wan
