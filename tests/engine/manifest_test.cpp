#include "engine/request/manifest.h"

#include <gtest/gtest.h>

#include <fstream>

#include "engine/base/error.h"
#include "engine/request/field_names.h"
#include "tests/support.h"

namespace wan {
namespace {

const std::string kCat = R"({"task": "t2v", "model": "m", "prompt": "a cat", "out": "cat.mp4", "seed": 5})";

/// A manifest in a folder of its own.
struct Manifest {
  explicit Manifest(const std::string& text) {
    std::filesystem::create_directory(folder / "m");
    std::ofstream(path(), std::ios::binary) << text;
  }
  std::string path() const { return folder / "list.jsonl"; }
  std::vector<ManifestJob> read(const ManifestOptions& options = {}) const { return read_manifest(path(), options); }

  /// Fields of the errors, one after another.
  std::string wrong() const {
    try {
      read();
      return "";
    } catch (const InvalidRequest& invalid) {
      std::string fields;
      for (const FieldError& error : invalid.errors) fields += (fields.empty() ? "" : "; ") + error.field;
      return fields;
    }
  }
  std::string message() const {
    try {
      read();
      return "";
    } catch (const InvalidRequest& invalid) {
      return invalid.what();
    }
  }

  TemporaryFolder folder;
};

std::vector<std::string> outs(const std::vector<ManifestJob>& jobs) {
  std::vector<std::string> names;
  for (const ManifestJob& job : jobs) names.push_back(std::filesystem::path(job.request.out).filename());
  return names;
}

std::string line(const std::string& more, const std::string& out = "") {
  return R"({"task": "t2v", "model": "m", "prompt": "p")" + (out.empty() ? "" : R"(, "out": ")" + out + "\"") +
         (more.empty() ? "" : ", " + more) + "}\n";
}

}  // namespace

TEST(Manifest, LinesAndArraysGiveTheSameJobs) {
  const std::string dog = R"({"task": "t2v", "model": "m", "prompt": "a dog", "out": "dog.mp4", "num_frames": 33})";
  for (const std::string& text :
       {kCat + "\n" + dog, "\xEF\xBB\xBF" + kCat + "\r\n\r\n" + dog + "\r\n", "[" + kCat + ",\n" + dog + "]",
        "# two animals\n" + kCat + "\n  // the second\n" + dog + "\n",
        "\n[\n# a\n" + kCat + "\n,\n\n" + dog + "\n]\n"}) {
    Manifest manifest(text);
    std::vector<ManifestJob> jobs = manifest.read();
    ASSERT_EQ(jobs.size(), 2u) << text;
    EXPECT_EQ(jobs[0].request.prompt, "a cat");
    EXPECT_EQ(jobs[0].request.seed, 5);
    EXPECT_EQ(jobs[1].request.num_frames, 33);
    EXPECT_EQ(jobs[1].request.out, manifest.folder / "dog.mp4") << "relative paths start at the manifest";
    EXPECT_EQ(jobs[0].request.model, manifest.folder / "m");
  }
}

TEST(Manifest, AllErrorsOfAllLinesAtOnceWithTheirNumbers) {
  Manifest manifest("\n# comment\n" + line(R"("num_frames": 9, "shift": 99)", "a.mp4") + "{\"task\": \"t2v\",\n" +
                    line(R"("promt": 1)", "b.mp4") + R"({"prompt": "x"})" + "\n[1]\n" + line("", "c.mp4") +
                    line("", "./c.mp4") + line(R"("shift": 2, "shift": 3)", "d.mp4") + "\xff\n");
  EXPECT_EQ(
      manifest.wrong(),
      "line 3, num_frames; line 3, shift; line 4; line 5, promt; line 6, task; line 7; line 9, out; line 10, shift; "
      "line 11");
  EXPECT_NE(manifest.message().find("[line 3, num_frames] must be from 17 to 121, got 9; \"unlocked\": true"),
            std::string::npos);
  EXPECT_NE(manifest.message().find("which line 8 writes too"), std::string::npos);
}

TEST(Manifest, WhatIsWrongInOneWayIsStillLookedAtInTheOthers) {
  EXPECT_EQ(Manifest(line(R"("repeat": 0, "shift": 99)", "a.mp4") + line(R"("shift": 99)", "b.mp4") +
                     line("", "b.mp4") + line(R"("seeds": [1, -2, "x"])", "c.mp4"))
                .wrong(),
            "line 1, repeat; line 1, shift; line 2, shift; line 3, out; line 4, seed; line 4, seed");
}

TEST(Manifest, TheFirstErrorsByLineAreListed) {
  std::string many = line(R"("shift": 99)", "a.mp4");
  for (int i = 0; i < 2000; ++i) many += "1\n";
  try {
    Manifest(many).read();
    ADD_FAILURE();
  } catch (const InvalidRequest& invalid) {
    EXPECT_EQ(invalid.errors.front().field, "line 1, shift");
    EXPECT_EQ(invalid.errors.back().field, "line 1000");
  }
}

TEST(Manifest, APictureOfThirtyMegabytesCanBeADataUrl) {
  auto picture = [](size_t letters) {
    return R"({"task": "i2v", "model": "m", "prompt": "p", "out": "a.mp4", "image_url": "data:image/png;base64,)" +
           std::string(letters, 'A') + "\"}\n";
  };
  EXPECT_EQ(Manifest(picture(size_t(30) << 20)).read().at(0).request.image_url.size(), (size_t(30) << 20) + 22);
  EXPECT_EQ(Manifest(picture(size_t(45) << 20)).wrong(), "line 1, image_url");
}

TEST(Manifest, PositionsInAnArrayAreThoseOfTheFile) {
  EXPECT_EQ(Manifest("[\n" + line("", "a.mp4") + ",\n{\"task\":\n\n 7x}]").wrong(), "line 6");
  EXPECT_NE(Manifest("[\n" + line("", "a.mp4") + ",\n{\"task\":\n\n 7x}]").message().find("column 3"),
            std::string::npos);
  EXPECT_EQ(Manifest("[" + line("", "a.mp4") + ",\n\n]").wrong(), "line 4");
  EXPECT_EQ(Manifest("[" + line("", "a.mp4") + "]\n{}").wrong(), "line 3");
  EXPECT_EQ(Manifest("\n[" + line("", "a.mp4")).wrong(), "line 2");
  EXPECT_EQ(Manifest("[{\"a\": \"]").wrong(), "line 1");
}

TEST(Manifest, AnObjectLaidOutForPeopleIsOneError) {
  const nlohmann::json cat = nlohmann::json::parse(kCat);
  const std::string wanted =
      "[line 2] opens a request with { that is not closed on its line; write one request a line, or all of them in one "
      "list [ ]";
  EXPECT_EQ(Manifest("# mine\n" + cat.dump(2)).message(), wanted);
  EXPECT_EQ(Manifest("\n" + cat.dump(2) + "\n" + cat.dump(2)).message(), wanted);
  EXPECT_EQ(Manifest("\n{\"text\": \"}\",\n\"a\": 1}").message(), wanted) << "a brace in a text closes nothing";
  EXPECT_EQ(Manifest(nlohmann::json::array({cat}).dump(2)).wrong(), "") << "a list is read however it is laid out";
  EXPECT_EQ(Manifest(line("", "a.mp4").substr(0, 20) + "\n" + line("", "b.mp4")).wrong(), "line 1") << "only cut off";
}

TEST(Manifest, FlagsOfTheCommandAreNamedAsSuch) {
  EXPECT_EQ(Manifest(line(R"("contact_sheet": "a.png")", "a.mp4")).message(),
            "[line 1, contact_sheet] is a flag of the command line, not a field of a request; leave it out");
  EXPECT_EQ(Manifest(line(R"("zzzzzzzz": 1)", "a.mp4")).message(),
            "[line 1, zzzzzzzz] is not a known field; wan-infer t2v --help lists them");
}

TEST(Manifest, NothingToDoIsAnError) {
  for (const char* text : {"", "\n\n", "# nothing\n", "[]", "[\n]"}) EXPECT_NE(Manifest(text).wrong(), "") << text;
}

TEST(Manifest, SeedsAndRepeatFanOut) {
  EXPECT_EQ(outs(Manifest(line(R"("seeds": [3, 1, 2])", "a.mp4")).read()),
            (std::vector<std::string>{"a-3.mp4", "a-1.mp4", "a-2.mp4"}));
  EXPECT_EQ(outs(Manifest(line(R"("seed": 7, "repeat": 3)", "a.mp4")).read()),
            (std::vector<std::string>{"a-7.mp4", "a-8.mp4", "a-9.mp4"}));
  EXPECT_EQ(outs(Manifest(line(R"("seeds": [4])")).read()), (std::vector<std::string>{"t2v-4.mp4"}));
  std::vector<ManifestJob> jobs = Manifest(line(R"("repeat": 3)", "a.mp4")).read();
  ASSERT_EQ(jobs.size(), 3u);
  EXPECT_NE(jobs[0].request.seed, jobs[1].request.seed);
  EXPECT_EQ(outs(jobs)[2], "a-" + std::to_string(jobs[2].request.seed) + ".mp4");

  EXPECT_EQ(Manifest(line(R"("seeds": [1, 2, 2])", "a.mp4")).message(),
            "[line 1, seeds] must be different from each other, got 2 twice; once is enough");
  EXPECT_EQ(Manifest(line(R"("seeds": [-1, -1, 2])", "a.mp4")).wrong(), "") << "drawn ones differ";
  EXPECT_EQ(Manifest(line(R"("seeds": [-2, 2])", "a.mp4")).wrong(), "line 1, seed");
  for (const char* more :
       {R"("seeds": [])", R"("seeds": 3)", R"("seeds": [1], "seed": 1)", R"("seeds": [1], "repeat": 2)"})
    EXPECT_EQ(Manifest(line(more, "a.mp4")).wrong(), "line 1, seeds") << more;
  for (const char* more : {R"("repeat": 0)", R"("repeat": 1e9)", R"("repeat": "2")", R"("repeat": 100001)"})
    EXPECT_EQ(Manifest(line(more, "a.mp4")).wrong(), "line 1, repeat") << more;
}

TEST(Manifest, DrawnSeedsFollowFromTheNumberAndTheLineAlone) {
  const std::string other = line(R"("shift": 3)", "b.mp4"), mine = line("", "a.mp4");
  auto seed = [](const std::string& text, uint64_t draw, size_t index) {
    return Manifest(text).read({.draw = draw})[index].request.seed;
  };
  EXPECT_EQ(seed(mine, 1, 0), seed(mine, 1, 0));
  EXPECT_NE(seed(mine, 1, 0), seed(mine, 2, 0));
  EXPECT_EQ(seed(mine, 1, 0), seed(other + mine, 1, 1)) << "an edit above draws nothing new";
  EXPECT_EQ(seed(mine, 1, 0), seed(line("", "renamed.mp4"), 1, 0));
  EXPECT_NE(seed(mine + line("", "c.mp4"), 1, 0), seed(mine + line("", "c.mp4"), 1, 1));
  EXPECT_NE(seed(mine, 1, 0), seed(line(R"("shift": 3)"), 1, 0));
}

TEST(Manifest, TheCommandsInterpolatorIsForLinesThatNameItsModel) {
  Manifest manifest(line("", "a.mp4") + "\n" + line(R"("interpolator_model": "film")", "b.mp4"));
  const std::vector<ManifestJob> jobs = manifest.read({.defaults = {{"interpolator", "film.pt"}}});
  EXPECT_EQ(jobs[0].request.interpolator, "");
  EXPECT_EQ(jobs[1].request.interpolator, std::filesystem::absolute("film.pt"));
}

TEST(Manifest, DrawnSeedsAreTheSameWhateverIsLookedAtAndWhoIsAsked) {
  const auto seed = [](const nlohmann::json& defaults) {
    return Manifest(line("", "a.mp4")).read({.defaults = defaults, .draw = 1}).at(0).request.seed;
  };
  EXPECT_EQ(seed({{"quality_check", "retry"}}), seed(nlohmann::json::object()));
  EXPECT_EQ(seed({{"expander_url", "http://g"}}), seed({{"expander_url", "http://h"}, {"expander_timeout", "5"}}));
  EXPECT_NE(seed({{"expander_url", "http://h"}, {"expander_model", "m"}}), seed({{"expander_url", "http://h"}}));
}

TEST(Manifest, NumbersOfTheCommandAreTextThatIsRead) {
  Manifest manifest(line("", "a.mp4"));
  const std::vector<ManifestJob> jobs = manifest.read({.defaults = {{"safety_threshold", "0.25"}}});
  EXPECT_EQ(jobs.at(0).request.safety_threshold, 0.25);
}

TEST(Manifest, TheCommandsLanguageServerIsForLinesWhoseTaskAsksOne) {
  Manifest manifest(
      line("", "a.mp4") + "\n" + line(R"("enable_prompt_expansion": false)", "b.mp4") + "\n" +
      R"({"task": "s2v", "model": "m", "prompt": "p", "image_url": "i", "audio_url": "s", "out": "c.mp4"})");
  for (const char* input : {"i", "s"}) std::ofstream(manifest.folder / input) << "x";
  const std::vector<ManifestJob> jobs =
      manifest.read({.defaults = {{"expander_url", "http://h"}, {"expander_model", "m"}, {"expander_timeout", "5"}}});
  ASSERT_EQ(jobs.size(), 3u);
  EXPECT_TRUE(jobs[0].request.enable_prompt_expansion);
  EXPECT_EQ(jobs[0].request.expander_timeout, 5);
  EXPECT_FALSE(jobs[1].request.enable_prompt_expansion) << "a line says otherwise";
  EXPECT_FALSE(jobs[2].request.enable_prompt_expansion);
  EXPECT_EQ(jobs[2].request.expander_url, "");
}

TEST(Manifest, TheCommandsFlagsAreDefaults) {
  const nlohmann::json flags = {{"model", "here/model"}, {"unlocked", "true"}, {"device", "cpu"}};
  Manifest manifest(R"({"task": "t2v", "prompt": "p", "num_frames": 5, "out": "a.mp4"})"
                    "\n" +
                    line(R"("unlocked": false, "device": "auto")", "b.mp4"));
  std::vector<ManifestJob> jobs = manifest.read({.defaults = flags});
  EXPECT_EQ(jobs[0].request.model, std::filesystem::absolute("here/model"))
      << "relative to where the command was typed";
  EXPECT_EQ(jobs[0].request.num_frames, 5);
  EXPECT_EQ(jobs[0].request.device, "cpu");
  EXPECT_FALSE(jobs[1].request.unlocked);
  EXPECT_EQ(jobs[1].request.model, manifest.folder / "m");
}

TEST(Manifest, AnOutputMustNotBeAnInput) {
  Manifest manifest(R"({"task": "i2v", "model": "m", "prompt": "p", "image_url": "frames.mp4", "out": "a.mp4"})"
                    "\n" +
                    line("", "frames.mp4"));
  std::ofstream(manifest.folder / "frames.mp4") << "x";
  EXPECT_EQ(manifest.wrong(), "line 2, out");
}

TEST(Manifest, HostileOnesAreRefusedInBoundedTime) {
  EXPECT_EQ(Manifest(std::string(1 << 20, '[')).wrong(), "line 1");
  EXPECT_EQ(Manifest("{\"a\":" + std::string(1 << 20, '[') + "\n").wrong(), "line 1");
  EXPECT_EQ(Manifest("{\"a\":" + std::string(1 << 20, '[') + std::string(1 << 20, ']') + "}\n").wrong(), "line 1");
  EXPECT_EQ(Manifest("{\"a\":" + std::string(1 << 20, '[') + "\n").message(),
            "[line 1] must be a flat object, and is nested deeper than 8");
  EXPECT_EQ(Manifest(line("\"seed\": 1e999")).message(),
            "[line 1] must have numbers below 1.8e308, and has a larger one at column 58");
  EXPECT_EQ(Manifest(line("\"seed\": 1, \"seed\": 2")).message(), "[line 1, seed] is given twice; once is enough");
  std::string objects = "{\"a\": [1";
  for (int i = 0; i < 200'000; ++i) objects += ",{}";
  EXPECT_EQ(Manifest(objects + "]}\n").wrong(), "line 1, task");
  EXPECT_EQ(Manifest("{\"a\": \"" + std::string(49 << 20, 'x') + "\"}\n").wrong(), "line 1");
  std::string values = "{\"a\": [1";
  for (int i = 0; i < 4'000'000; ++i) values += ",1";
  EXPECT_EQ(Manifest(values + "]}\n").wrong(), "line 1");
  EXPECT_EQ(Manifest(line("\"repeat\": 100000, \"negative_prompt\": \"" + std::string(9000, 'x') + "\"")).wrong(),
            "line 1, manifest");
  std::string many;
  for (int i = 0; i < 100'000; ++i) many += "1\n";
  try {
    Manifest(many).read();
    ADD_FAILURE();
  } catch (const InvalidRequest& invalid) {
    EXPECT_EQ(invalid.errors.size(), 1000u);
  }
  EXPECT_THROW(read_manifest("/dev/zero", {}), InvalidRequest);
  EXPECT_THROW(read_manifest("/no/such/file", {}), InvalidRequest);
  EXPECT_THROW(read_manifest("/tmp", {}), InvalidRequest);
}

TEST(FieldNames, StandForFlagsInTextsOfManifests) {
  EXPECT_EQ(with_field_names("--num-frames makes fewer"), "num_frames makes fewer");
  EXPECT_EQ(with_field_names("use --no-keep-audio, or --video FILE"), "use keep_audio false, or video_url FILE");
  for (const char* text : {"", "--", "a -- b", "--nothing of ours", "ffmpeg -i FILE --x", "--num-frames-y",
                           "[clip--seed 3.mp4]", "/a/--seed 3"})
    EXPECT_EQ(with_field_names(text), text);
}

}  // namespace wan
