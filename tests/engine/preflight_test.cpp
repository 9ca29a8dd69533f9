// What is found before the first step: notations of other programs, cut prompts, disk, long metadata.
#include "engine/job/preflight.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/base/error.h"
#include "engine/request/parse.h"
#include "engine/request/prompt_syntax.h"
#include "models/files/digest.h"
#include "tests/engine/media_support.h"
#include "tests/parts.h"
#include "tests/support.h"
#include "tests/support/job.h"

namespace wan {
namespace {

TEST(PromptSyntax, NotationsOfOtherProgramsAreNamed) {
  using Found = std::vector<std::string>;
  EXPECT_EQ(foreign_syntax("a (red:1.5) car"), Found({"(red:1.5)"}));
  EXPECT_EQ(foreign_syntax("a ((red)) car"), Found({"((red))"}));
  EXPECT_EQ(foreign_syntax("<lora:style_v2:0.8> a car"), Found({"<lora:style_v2:0.8>"}));
  EXPECT_EQ(foreign_syntax("[day:night:0.5] {red|blue} __colour__ a BREAK b"),
            Found({"[day:night:0.5]", "{red|blue}", "__colour__", "BREAK"}));
  EXPECT_EQ(foreign_syntax("a [cat|dog], embedding:easynegative, moving --ar 16:9 --v 6"),
            Found({"[cat|dog]", "embedding:easynegative", "--ar"}));
}

TEST(PromptSyntax, BracketsRightBehindOneAnotherAreNamedWhole) {
  using Found = std::vector<std::string>;
  EXPECT_EQ(foreign_syntax("a [[calm]] sea"), Found({"[[calm]]"}));
  EXPECT_EQ(foreign_syntax("{{{sharp}}}, a sea"), Found({"{{{sharp}}}"}));
  EXPECT_EQ(foreign_syntax("(((masterpiece)))"), Found({"(((masterpiece)))"}));
  EXPECT_EQ(foreign_syntax("a [(dark)] sea"), Found({"[(dark)]"}));
  EXPECT_EQ(foreign_syntax("a (((dark)) sea"), Found({"((dark))"}));
  EXPECT_EQ(foreign_syntax("a ((dark:1.5)) sea"), Found({"((dark:1.5))"})) << "one notation";
}

// Between commas, since a sentence has remarks in brackets, too.
TEST(PromptSyntax, WordsInBracketsAreNamedWhereTheyAreItemsOfAList) {
  using Found = std::vector<std::string>;
  EXPECT_EQ(foreign_syntax("a sea, [dark], waves"), Found({"[dark]"}));
  EXPECT_EQ(foreign_syntax("a sea, {very dark}"), Found({"{very dark}"}));
  EXPECT_EQ(foreign_syntax("[dark], a sea"), Found({"[dark]"}));
  for (const char* text :
       {"the sea [dark] at night", "he said [laughing], and left", "a sea, [it is dark by now], waves",
        "a sea, [dark] waves", "{dark} waves", "a cat:1.5", "as told (see [1])", "[dark]"})
    EXPECT_EQ(foreign_syntax(text), Found()) << text;
}

TEST(PromptSyntax, OrdinaryTextIsNone) {
  for (const char* text :
       {"", "a car (red)", "at 12:30 (about noon)", "(note: the car is red)", "BREAKFAST ANDES", "x < y > z", "[sic]",
        "snake_case__name", "1 (2:", "(: 1.5)", "a dash -- and a word", "the embedding: a text", "((", "a {red} car"})
    EXPECT_TRUE(foreign_syntax(text).empty()) << text;
  EXPECT_TRUE(foreign_syntax(std::string(1 << 20, '(')).empty());
  EXPECT_TRUE(foreign_syntax(std::string(1 << 20, '[')).empty());
}

TEST(Preflight, DiskIsCountedAndALackOfItIsToldBefore) {
  Request request;
  request.task = Task::T2V;
  const DiskNeed need = disk_need(request, {81, 720, 1280});
  EXPECT_EQ(need.work, uint64_t(4) * 18'662'400);  // the sample and three of the solver's: 16 x 21 x 90 x 160 floats
  request.solver = "euler";
  EXPECT_EQ(disk_need(request, {81, 720, 1280}).work, uint64_t(18'662'400));
  EXPECT_EQ(disk_need(request, {81, 720, 1280}).running, uint64_t(256) << 20);
  Request speech;
  speech.task = Task::S2V;  // two times the 73 frames before a clip, float32
  EXPECT_EQ(disk_need(speech, {81, 720, 1280}).running, (uint64_t(256) << 20) + 2 * 73 * 3 * 720 * 1280 * 4);
  speech.num_frames_given = true;
  EXPECT_EQ(disk_need(speech, {81, 720, 1280}).running, uint64_t(256) << 20) << "one clip is followed by none";
  EXPECT_NO_THROW(check_space(1000, "/tmp/x.mp4"));
  try {
    check_space(uint64_t(1) << 60, "/tmp/x.mp4");
    FAIL();
  } catch (const InvalidRequest& invalid) {
    EXPECT_EQ(invalid.errors[0].field, "out");
    EXPECT_NE(invalid.errors[0].wrong.find("free"), std::string::npos);
  }
}

/// A job from a picture in a folder of its own.
struct PictureJob {
  PictureJob() {
    std::filesystem::copy_file(media_file("rgb.png"), path());
    const nlohmann::json fields = {
        {"model", kModel}, {"prompt", "x"}, {"image_url", path()}, {"out", folder / "a.mp4"}, {"unlocked", true},
        {"width", 64},     {"height", 64},  {"num_frames", 5},     {"device", "cpu"}};
    request = parse(Task::I2V, fields);
    placement = resolve_placement(request);
    group = {parts_of(kModel, Task::I2V), placement, {}, 0};
    record = make_record(request, placement, {}, identify_inputs(request));
  }

  std::vector<Note> look(Preflight& preflight) {
    Notes notes;
    Silent silent;
    InputFiles files;
    files.image = {path(), "image_url"};
    preflight.look(request, files, record, group, preflight.memory(request, group, placement), notes, silent);
    return notes.list();
  }
  std::string path() const { return folder / "picture.png"; }

  static constexpr const char* kModel = WAN_SOURCE_DIR "/tests/golden/checkpoints/Wan2.2-I2V-A14B";
  TemporaryFolder folder;
  Request request;
  Placement placement;
  Group group;
  Record record;
};

// The file is exchanged behind its back: who opens it again sees no picture.
TEST(Preflight, EqualJobsAreLookedAtOnce) {
  PictureJob job;
  Preflight preflight(Look::Whole);
  const std::vector<Note> first = job.look(preflight);
  write_bytes(job.path(), "no picture");
  EXPECT_EQ(job.look(preflight), first) << "the notes are each job's own";
  job.request.seed = 7;
  job.request.prompt = "another";
  EXPECT_NO_THROW(job.look(preflight)) << "the picture is read the same";
  job.request.width = 128;
  EXPECT_THROW(job.look(preflight), InvalidRequest) << "another size";
  job.request.width = 64;
  job.record.inputs.at("image_url").sha256 = "another content";
  EXPECT_THROW(job.look(preflight), InvalidRequest);
  std::filesystem::copy_file(media_file("rgb.png"), job.path(), std::filesystem::copy_options::overwrite_existing);
  EXPECT_THROW(job.look(preflight), InvalidRequest) << "what was refused is not tried again";
  EXPECT_NO_THROW(Preflight fresh(Look::Whole); job.look(fresh));
}

TEST(Preflight, AnIntervalWithoutAnyLevelIsTold) {
  PictureJob job;
  Preflight preflight(Look::Whole);
  const auto told = [&](const char* interval) {
    job.request.guidance_interval = interval;
    const std::vector<Note> notes = job.look(preflight);
    return std::ranges::count(notes, std::string("guidance_interval"), &Note::subject);
  };
  EXPECT_EQ(told("0:1"), 0);
  EXPECT_EQ(told("0.001:0.002"), 1);
}

TEST(InputContents, AreReadAgainWhereTheFileChanged) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.bin";
  InputContents contents;
  write_bytes(path, "abc");
  EXPECT_EQ(contents.of(path).sha256, sha256({"abc"}));
  write_bytes(path, "abcd");
  EXPECT_EQ(contents.of(path).sha256, sha256({"abcd"}));
  std::filesystem::remove(path);
  EXPECT_THROW(contents.of(path), std::system_error);
}

}  // namespace
}  // namespace wan
