// Safety checks of whole jobs: inputs before anything is computed, frames before the file appears, and what becomes of
// what is flagged.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/job/check.h"
#include "engine/job/finish.h"
#include "engine/job/frame_chain.h"
#include "engine/job/video_file.h"
#include "engine/residency/find_parts.h"
#include "models/files/error.h"
#include "tests/support/interpolators.h"
#include "tests/support/safety_scene.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// How much two neighbours differ at most, in levels: little in what is blurred.
double detail(const at::Tensor& rgb) {
  const at::Tensor values = rgb.to(at::kFloat);
  return (values.narrow(1, 1, values.size(1) - 1) - values.narrow(1, 0, values.size(1) - 1)).abs().max().item<double>();
}

class SafetyJob : public SafetyScene {};

TEST_F(SafetyJob, WhatIsNotFlaggedIsTheSameVideoWithItsScores) {
  const Request plain = request({{"out", folder_ / "plain.mp4"}}), asked = request({{"safety_checker", "nothing"}});
  EXPECT_TRUE(asked.enable_safety_checker && asked.enable_output_safety_checker) << "a checker that is named is used";
  const std::vector<at::Tensor> want = frames_of(run(plain)), got = frames_of(run(asked));
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(at::equal(got[i], want[i])) << i;
  const json said = said_in(asked.out);
  const json want_said = {{"checker", "image classifier (ViT)"},
                          {"threshold", 0.5},
                          {"action", "refuse"},
                          {"flagged", false},
                          {"output", {{"flagged", false}, {"score", 0.047426}, {"frame", 0}, {"frames", 5}}}};
  EXPECT_EQ(said["safety"], want_said);
  std::string names;
  for (const auto& file : said["files"])
    if (file["part"] == "safety_checker") names += file["name"].get<std::string>() + " ";
  EXPECT_EQ(names, "nothing/config.json nothing/model.safetensors nothing/preprocessor_config.json ");
  EXPECT_FALSE(said_in(plain.out).contains("safety"));
  const std::string bytes = bytes_of(asked.out);
  fs::remove(asked.out);
  EXPECT_EQ(bytes_of(run(asked)), bytes) << "equal runs give equal files";
  Steps none;
  run(asked, none);
  EXPECT_EQ(none.reports, 0) << "it is known as finished";
}

TEST_F(SafetyJob, FlagSaysItInTheFileAlone) {
  const Request plain = request({{"out", folder_ / "plain.mp4"}}),
                asked = request({{"safety_checker", "everything"}, {"safety_action", "flag"}});
  const std::string stopped = asked.out + ".unblurred.part";
  write_bytes(stopped, "of a run that was killed");
  const std::vector<at::Tensor> want = frames_of(run(plain)), got = frames_of(run(asked));
  EXPECT_FALSE(fs::exists(stopped));
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(at::equal(got[i], want[i])) << i;
  const json said = said_in(asked.out)["safety"];
  EXPECT_EQ(said["flagged"], true);
  EXPECT_EQ(said["action"], "flag");
  EXPECT_EQ(said["output"]["score"], kScoreOfEverything);
  EXPECT_EQ(said["output"]["found"], "nsfw");
  EXPECT_TRUE(told("safety"));
}

TEST_F(SafetyJob, BlurIsASecondPassOverEveryFrame) {
  const Request plain = request({{"out", folder_ / "plain.mp4"}}),
                asked = request({{"safety_checker", "everything"}, {"safety_action", "blur"}});
  const std::vector<at::Tensor> want = frames_of(run(plain));
  Silent silent;
  const std::string sheet = folder_ / "sheet.png";
  const std::vector<at::Tensor> got = frames_of(run(asked, silent, {.output = {.contact_sheet = sheet}}));
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_LT(detail(got[i]), detail(want[i]) / 2) << i;
  EXPECT_EQ(said_in(asked.out)["safety"]["action"], "blur");
  const std::string blurred = folder_ / "blurred.png";
  write_sheet(blurred, asked.out, int64_t(got.size()));
  EXPECT_TRUE(bytes_of(sheet) == bytes_of(blurred)) << "it shows the frames of the file";
  for (const auto& entry : fs::directory_iterator(folder_.path()))
    EXPECT_EQ(entry.path().string().find("unblurred"), std::string::npos) << entry.path();
}

TEST_F(SafetyJob, RefuseKeepsTheClipBesideAndIsNotRenderedAgain) {
  const Request asked = request({{"safety_checker", "everything"}});
  Steps steps;
  const SafetyRefusal refusal = refusal_of(asked, steps);
  EXPECT_EQ(steps.made, 2);
  EXPECT_EQ(refusal.field, "out");
  const std::string text = refusal.what();
  for (const char* words : {"score 0.952574 of frame 0 is above 0.5 (nsfw)", "a.refused.mp4", "--safety-action"})
    EXPECT_NE(text.find(words), std::string::npos) << text;
  EXPECT_FALSE(fs::exists(asked.out));
  const std::string kept = folder_ / "a.refused.mp4";
  EXPECT_EQ(frames_of(kept).size(), 5u);
  EXPECT_EQ(said_in(kept)["safety"]["flagged"], true);
  Steps again;
  EXPECT_STREQ(refusal_of(asked, again).what(), text.c_str());
  EXPECT_EQ(again.made + again.decoded, 0) << "the same clip would be refused again";
  // Another action makes the file of what is kept.
  Steps flagged;
  run(request({{"safety_checker", "everything"}, {"safety_action", "flag"}}), flagged);
  EXPECT_EQ(flagged.made, 0) << "no step is made again";
  EXPECT_GT(flagged.decoded, 0);
  EXPECT_TRUE(fs::exists(asked.out));
  EXPECT_FALSE(fs::exists(WorkFolder::beside(asked.out)));
  EXPECT_TRUE(fs::exists(kept)) << "nobody removed it";
}

TEST_F(SafetyJob, ARefusedClipThatWasRemovedIsMadeAgainFromItsLatents) {
  const Request asked = request({{"safety_checker", "everything"}});
  Steps first, second;
  refusal_of(asked, first);
  fs::remove(folder_ / "a.refused.mp4");
  refusal_of(asked, second);
  EXPECT_EQ(second.made, 0);
  EXPECT_TRUE(fs::exists(folder_ / "a.refused.mp4"));
}

TEST_F(SafetyJob, AnEarlierRefusedClipIsNotReplaced) {
  write_bytes(folder_ / "a.refused.mp4", "somebody's");
  Steps steps;
  refusal_of(request({{"safety_checker", "everything"}}), steps);
  EXPECT_EQ(bytes_of(folder_ / "a.refused.mp4"), "somebody's");
  EXPECT_TRUE(fs::exists(folder_ / "a.refused-2.mp4"));
}

TEST_F(SafetyJob, DiscardLeavesNothing) {
  const Request asked = request({{"safety_checker", "everything"}, {"discard", true}});
  Steps steps;
  const SafetyRefusal refusal = refusal_of(asked, steps, {.output = {.contact_sheet = folder_ / "sheet.png"}});
  EXPECT_NE(std::string(refusal.what()).find("was removed"), std::string::npos) << refusal.what();
  for (const auto& entry : fs::directory_iterator(folder_.path())) {
    const std::string name = entry.path().filename();
    EXPECT_TRUE(name == "nothing" || name == "everything" || name == "bright") << name;
  }
}

TEST_F(SafetyJob, AThresholdDecides) {
  Steps steps;
  refusal_of(request({{"safety_checker", "nothing"}, {"safety_threshold", 0.04}}), steps);
  const Request asked =
      request({{"safety_checker", "everything"}, {"safety_threshold", 0.96}, {"out", folder_ / "b.mp4"}});
  run(asked);
  EXPECT_EQ(said_in(asked.out)["safety"]["threshold"], 0.96);
  EXPECT_EQ(said_in(asked.out)["safety"]["flagged"], false);
}

TEST_F(SafetyJob, InputsAreLookedAtBeforeAnythingIsComputed) {
  Steps steps;
  const SafetyRefusal refusal = refusal_of(picture("bright.png", 240, {{"safety_checker", "bright"}}), steps);
  EXPECT_EQ(refusal.field, "image_url");
  EXPECT_EQ(steps.made + steps.decoded, 0);
  EXPECT_FALSE(told("load")) << "no network of the model is loaded";
  EXPECT_FALSE(fs::exists(WorkFolder::beside(folder_ / "a.mp4")));
  const Request dark = picture("dark.png", 20, {{"safety_checker", "bright"}, {"enable_output_safety_checker", false}});
  run(dark);
  const json said = said_in(dark.out)["safety"];
  EXPECT_EQ(said["inputs"]["image_url"]["flagged"], false);
  EXPECT_LT(said["inputs"]["image_url"]["score"], 0.1);
  EXPECT_FALSE(said.contains("output"));
}

TEST_F(SafetyJob, TheSecondPictureCountsAndAFlaggedInputIsBlurredOrToldToo) {
  write_png(folder_ / "end.png", at::full({64, 64, 3}, 240, at::kByte));
  const json more = {{"safety_checker", "bright"}, {"last_image_url", "end.png"}, {"enable_safety_checker", true}};
  Steps steps;
  EXPECT_EQ(refusal_of(picture("dark.png", 20, more), steps).field, "last_image_url");
  json flag = more, blur = more;
  flag.update({{"safety_action", "flag"}, {"out", folder_ / "flag.mp4"}});
  blur.update({{"safety_action", "blur"}, {"out", folder_ / "blur.mp4"}});
  const std::vector<at::Tensor> sharp = frames_of(run(picture("dark.png", 20, flag))),
                                soft = frames_of(run(picture("dark.png", 20, blur)));
  EXPECT_EQ(said_in(folder_ / "flag.mp4")["safety"]["flagged"], true);
  EXPECT_LT(detail(soft[2]), detail(sharp[2])) << "the clip shows the picture";
}

TEST_F(SafetyJob, FramesOfAnInputVideoAreSpreadOverIt) {
  // Bright only in its last fifth of a second.
  ffmpeg(
      "-f lavfi -i color=c=black:size=64x64:rate=16:duration=1 -f lavfi -i "
      "color=c=white:size=64x64:rate=16:duration=0.2 "
      "-filter_complex \"[0][1]concat=n=2:v=1\" -c:v ffv1 " +
      (folder_ / "in.mkv").string());
  const json more = {
      {"task", "v2v"}, {"video_url", "in.mkv"}, {"num_frames", 17}, {"strength", 0.5}, {"safety_checker", "bright"}};
  Steps steps;
  const SafetyRefusal refusal = refusal_of(request(more), steps);
  EXPECT_EQ(refusal.field, "video_url");
  EXPECT_EQ(refusal.record.inputs.at("video_url").frame, 16);
  EXPECT_EQ(refusal.record.inputs.at("video_url").frames, 8);
  // What is not used is not looked at.
  json shorter = more;
  shorter.update({{"num_frames", 5}, {"enable_output_safety_checker", false}});
  run(request(shorter));
  EXPECT_EQ(said_in(folder_ / "a.mp4")["safety"]["inputs"]["video_url"]["flagged"], false);
}

TEST_F(SafetyJob, PromptsAreRefusedByBlockedWords) {
  std::ofstream(folder_ / "words.txt") << "# mine\nred circle\n";
  Steps steps;
  const SafetyRefusal refusal =
      refusal_of(request({{"blocked_words", "words.txt"}, {"prompt", "a Red, CIRCLE."}}), steps);
  EXPECT_EQ(refusal.field, "prompt");
  EXPECT_NE(refusal.wrong.find("has 'red circle'"), std::string::npos) << refusal.what();
  EXPECT_EQ(steps.made, 0);
  const Request good = request({{"blocked_words", "words.txt"}});
  EXPECT_TRUE(good.enable_safety_checker) << "a list that is named is used, without a checker";
  run(good);
  const json said = said_in(good.out);
  EXPECT_EQ(said["safety"]["inputs"]["prompt"]["flagged"], false);
  EXPECT_FALSE(said["request"].contains("blocked_words")) << "whose list it was is nobody's business";
  const Request flagged = request({{"blocked_words", "words.txt"},
                                   {"prompt", "red circle"},
                                   {"safety_action", "flag"},
                                   {"metadata", "minimal"},
                                   {"out", folder_ / "b.mp4"}});
  run(flagged);
  const json minimal = said_in(flagged.out)["safety"];
  EXPECT_EQ(minimal["flagged"], true);
  EXPECT_FALSE(minimal["inputs"]["prompt"].contains("found")) << "a word of the prompt";
}

TEST_F(SafetyJob, AFinishedVideoIsLookedAtByTheListOfNow) {
  const auto block = [&](const char* words) { std::ofstream(folder_ / "words.txt") << words << "\n"; };
  const Request asked = request({{"blocked_words", "words.txt"}});
  block("square");
  run(asked);
  Steps steps;
  run(asked, steps);
  block("circle");
  EXPECT_EQ(refusal_of(asked, steps).field, "prompt");
  EXPECT_EQ(steps.made + steps.decoded, 0);
  EXPECT_TRUE(fs::exists(asked.out));
  fs::remove(folder_ / "words.txt");
  EXPECT_THROW(run(asked), InvalidRequest);

  // Of a batch: what it made itself, and what lay there.
  const std::vector<JobRequest> jobs = {
      {.line = 1, .request = request({{"blocked_words", "words.txt"}, {"out", folder_ / "1.mp4"}})},
      {.line = 2, .request = asked}};
  const auto run_all = [&] {
    WorkFolder work(folder_ / "work", WorkFolder::draw_number(folder_ / "work"));
    return run_jobs(jobs, work, {}, log_, steps);
  };
  block("square");
  EXPECT_EQ(run_all().count(JobState::Failed), 0);
  const RunResult again = run_all();
  EXPECT_EQ(again.count(JobState::Kept), 2);
  block("circle");
  const RunResult refused = run_all();
  for (const JobResult& job : refused.jobs) {
    EXPECT_EQ(job.state, JobState::Failed) << job.name;
    EXPECT_NE(job.error.find("has 'circle'"), std::string::npos) << job.error;
    EXPECT_TRUE(job.safety.flagged()) << job.name;
    EXPECT_TRUE(fs::exists(job.request.out));
  }
}

TEST_F(SafetyJob, FieldsWithoutACheckAreTold) {
  fs::create_directory(folder_ / "scratch");
  Silent silent;
  const auto noted = [&](const json& more) {
    const CheckResult result = check_jobs({{.line = 1, .request = request(more)}},
                                          {.work = folder_ / "work", .scratch = folder_ / "scratch"}, silent)
                                   .at(0);
    std::string subjects;
    for (const Note& note : result.notes)
      if (note.text == "it has no effect: no check is asked for") subjects += note.subject;
    return subjects;
  };
  EXPECT_EQ(noted({{"safety_action", "blur"}}), "safety_action");
  EXPECT_EQ(noted({{"discard", true}}), "discard");
  EXPECT_EQ(noted({{"safety_threshold", 0.4}}), "safety_threshold");
  EXPECT_EQ(noted({{"safety_action", "blur"}, {"safety_checker", "nothing"}}), "");
  EXPECT_EQ(noted(json::object()), "");
  WorkFolder work(folder_ / "work", WorkFolder::draw_number(folder_ / "work"));
  run_jobs({{.line = 1, .request = request({{"safety_action", "blur"}})}}, work, {}, log_, silent);
  EXPECT_TRUE(std::any_of(told_.begin(), told_.end(), [](const auto& event) {
    return event.first == "note" && event.second.value("subject", "") == "safety_action";
  }));
}

TEST_F(SafetyJob, FramesDrawnBetweenOthersAreNotCounted) {
  write_interpolator(folder_ / "film_net.safetensors", "film");
  const json more = {{"interpolator_model", "film"},
                     {"num_interpolated_frames", 2},
                     {"interpolator", "film_net.safetensors"},
                     {"safety_checker", "everything"}};
  json flag = more, blur = more;
  flag["safety_action"] = "flag";
  blur.update({{"safety_action", "blur"}, {"out", folder_ / "b.mp4"}});
  run(request(flag));
  EXPECT_EQ(frames_of(folder_ / "a.mp4").size(), 13u);
  EXPECT_EQ(said_in(folder_ / "a.mp4")["safety"]["output"]["frames"], 5);
  EXPECT_EQ(frames_of(run(request(blur))).size(), 13u);
}

TEST_F(SafetyJob, AnInputThatIsPassedOnIsCheckedToo) {
  ffmpeg("-f lavfi -i testsrc=size=64x64:rate=16:duration=0.5 -f lavfi -i sine=duration=0.5 -c:v ffv1 -c:a aac " +
         (folder_ / "in.mkv").string());
  json more = {{"task", "v2v"}, {"video_url", "in.mkv"},          {"num_frames", 5},
               {"strength", 0}, {"safety_checker", "everything"}, {"enable_safety_checker", false}};
  Steps steps;
  EXPECT_EQ(refusal_of(request(more), steps).field, "out");
  more.update({{"safety_action", "blur"}, {"out", folder_ / "b.mp4"}});
  run(request(more));
  EXPECT_EQ(frames_of(folder_ / "b.mp4").size(), 5u);
  EXPECT_TRUE(VideoReader({folder_ / "b.mp4", "video"}).info().has_audio) << "the sound is copied";
}

TEST_F(SafetyJob, OfABatchTheOthersGoOn) {
  const std::vector<JobRequest> jobs = {
      {.line = 1, .request = request({{"safety_checker", "everything"}, {"out", folder_ / "1.mp4"}})},
      {.line = 2,
       .request = request({{"safety_checker", "nothing"}, {"metadata", "none"}, {"out", folder_ / "2.mp4"}})},
      {.line = 3,
       .request =
           request({{"safety_checker", "everything"}, {"discard", true}, {"seed", 4}, {"out", folder_ / "3.mp4"}})}};
  const auto run_all = [&](Steps& steps) {
    WorkFolder work(folder_ / "work", WorkFolder::draw_number(folder_ / "work"));
    return run_jobs(jobs, work, {}, log_, steps);
  };
  Steps steps, again;
  const RunResult first = run_all(steps), second = run_all(again);
  EXPECT_EQ(first.count(JobState::Failed), 2);
  EXPECT_EQ(first.jobs[1].state, JobState::Done);
  EXPECT_EQ(second.count(JobState::Failed), 2);
  EXPECT_EQ(second.jobs[1].state, JobState::Kept);
  EXPECT_EQ(again.reports, 0) << "nothing is rendered again, that which was discarded neither";
  for (const RunResult* result : {&first, &second}) {
    EXPECT_TRUE(result->jobs[0].safety.flagged());
    ASSERT_TRUE(result->jobs[1].safety.output) << "also where the file says nothing";
    EXPECT_EQ(result->jobs[1].safety.output->score, kScoreOfNothing);
    EXPECT_TRUE(result->jobs[2].safety.flagged());
  }
  EXPECT_NE(second.jobs[0].error.find("1.refused.mp4"), std::string::npos) << second.jobs[0].error;
  int64_t latents = 0;
  for (const auto& entry : fs::directory_iterator(folder_ / "work"))
    latents += entry.path().string().ends_with("latents.safetensors");
  EXPECT_EQ(latents, 1) << "those of the first, which may yet be flagged or blurred";
  EXPECT_FALSE(fs::exists(folder_ / "3.refused.mp4"));
}

TEST_F(SafetyJob, ABreakBeforeTheVerdictLosesNothing) {
  const Request asked = request({{"safety_checker", "nothing"}});
  const std::string want = bytes_of(run(asked));
  fs::remove(asked.out);
  Steps broken(INT64_MAX, 1);
  EXPECT_THROW(run(asked, broken), Cancelled);
  Steps rest;
  EXPECT_EQ(bytes_of(run(asked, rest)), want);
  EXPECT_EQ(rest.made, 0);
}

TEST_F(SafetyJob, WhatWasSaidOfInputsIsKeptWithTheLatents) {
  const Request asked = picture("dark.png", 20, {{"safety_checker", "bright"}, {"safety_action", "flag"}});
  Steps broken(INT64_MAX, 1);
  EXPECT_THROW(run(asked, broken), Cancelled);
  Steps rest;
  run(asked, rest);
  EXPECT_EQ(rest.made, 0);
  EXPECT_EQ(said_in(asked.out)["safety"]["inputs"]["image_url"]["flagged"], false);
}

TEST_F(SafetyJob, WhatACheckerSaidCountsNotWithoutIt) {
  const Request asked = picture("bright.png", 240, {{"safety_checker", "bright"}, {"safety_action", "flag"}});
  Steps broken(INT64_MAX, 1);
  EXPECT_THROW(run(asked, broken), Cancelled);
  std::ofstream(folder_ / "words.txt") << "elephant\n";
  Steps rest;
  run(picture("bright.png", 240,
              {{"enable_safety_checker", true}, {"blocked_words", folder_ / "words.txt"}, {"safety_action", "refuse"}}),
      rest);
  EXPECT_EQ(rest.made, 0);
  const json said = said_in(asked.out)["safety"];
  EXPECT_FALSE(said.contains("checker")) << said;
  EXPECT_FALSE(said["inputs"].contains("image_url")) << said;
}

TEST_F(SafetyJob, BadCheckersAreOneLineBeforeAnyWork) {
  write_safety_checker(folder_ / "noconfig", Flags::Nothing);
  fs::remove(folder_ / "noconfig/config.json");
  write_safety_checker(folder_ / "other", Flags::Nothing, {{"model_type", "resnet"}});
  write_safety_checker(folder_ / "nan", Flags::Nothing);
  std::map<std::string, at::Tensor> weights = safety_weights(Flags::Nothing);
  weights["classifier.bias"][0] = std::numeric_limits<float>::quiet_NaN();
  write_safetensors((folder_ / "nan/model.safetensors").string(), weights);
  const std::pair<const char*, const char*> cases[] = {{"noconfig", "must hold config.json"},
                                                       {"other", "resnet"},
                                                       {"nan", "has NaN or Inf"},
                                                       {"absent", "is not there"}};
  for (const auto& [name, words] : cases) {
    Steps steps;
    std::string error;
    try {
      run(request({{"safety_checker", name}}), steps);
    } catch (const ModelError& wrong) {
      error = wrong.what();
    }
    EXPECT_NE(error.find(words), std::string::npos) << name << ": " << error;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
    EXPECT_EQ(steps.made, 0) << name;
  }
  std::string error;
  try {
    run(request({{"enable_output_safety_checker", true}}));
  } catch (const ModelError& wrong) {
    error = wrong.what();
  }
  for (const char* words : {"[--safety-checker]", "343 MB", "1.2 GB", "Falconsai/nsfw_image_detection"})
    EXPECT_NE(error.find(words), std::string::npos) << error;
}

TEST_F(SafetyJob, ASetNamesItsChecker) {
  std::ofstream(folder_ / "models.json") << R"({"sets": {"mine": {"safety_checker": "bright"}}})";
  const Request asked = request({{"model", "mine"}, {"models", "models.json"}, {"enable_safety_checker", true}});
  const ModelPart part = safety_checker_of(asked);
  EXPECT_EQ(part.name, "bright");
  EXPECT_EQ(part.rule.find("set "), 0u) << part.rule;
}

TEST_F(SafetyJob, CheckLooksAtThePromptAndTheCheckersFiles) {
  std::ofstream(folder_ / "words.txt") << "circle\n";
  fs::create_directory(folder_ / "scratch");
  const CheckOptions options{.work = folder_ / "work", .scratch = folder_ / "scratch"};
  Silent silent;
  const auto failure = [&](const Request& asked) -> std::string {
    const CheckResult result = check_jobs({{.line = 0, .request = asked}}, options, silent).at(0);
    try {
      if (result.failure) std::rethrow_exception(result.failure);
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(failure(request({{"blocked_words", "words.txt"}})).find("[prompt] must have no blocked word"),
            std::string::npos);
  EXPECT_EQ(failure(request({{"safety_checker", "everything"}})), "") << "the video is not known yet";
  fs::remove(folder_ / "bright/config.json");
  EXPECT_NE(failure(request({{"safety_checker", "bright"}})).find("config.json"), std::string::npos);
}

TEST_F(SafetyJob, FinishCarriesOnWhatWasSaid) {
  write_interpolator(folder_ / "film_net.safetensors", "film");
  run(request({{"safety_checker", "everything"}, {"safety_action", "flag"}}));
  const Request more = request({{"task", "v2v"},
                                {"out", folder_ / "b.mp4"},
                                {"video_url", "a.mp4"},
                                {"interpolator_model", "film"},
                                {"num_interpolated_frames", 1},
                                {"interpolator", "film_net.safetensors"}});
  Silent silent;
  finish_video(more, folder_ / "b.mp4", chain_of(more, interpolator_of(more), Placement{}), {}, log_, silent);
  EXPECT_EQ(said_in(folder_ / "b.mp4")["safety"], said_in(folder_ / "a.mp4")["safety"]);
}

TEST_F(SafetyJob, DecodedLatentsAreCheckedAsTheRequestSays) {
  const Request asked = request({{"safety_checker", "everything"}});
  Steps steps;
  refusal_of(asked, steps);
  const fs::path latents =
      WorkFolder(WorkFolder::beside(asked.out), WorkFolder::draw_number(WorkFolder::beside(asked.out)))
          .latents()
          .value();
  SavedLatents saved = load_latents(latents);
  const ModelParts parts = find_parts(asked);
  Silent silent;
  const auto decode = [&](const Request& request, const std::string& out) {
    set_safety(saved.record, request, identities(parts));
    decode_saved(saved, out, resolve_placement(request), parts, {}, log_, silent);
  };
  EXPECT_THROW(decode(asked, folder_ / "c.mp4"), SafetyRefusal);
  EXPECT_TRUE(fs::exists(folder_ / "c.refused.mp4"));
  EXPECT_TRUE(fs::exists(latents));
  decode(request({{"safety_checker", "everything"}, {"safety_action", "flag"}}), folder_ / "d.mp4");
  EXPECT_EQ(said_in(folder_ / "d.mp4")["safety"]["action"], "flag");
}

class SafetySpeech : public SafetyScene {
 protected:
  Request speech(const json& more) const {
    write_png(folder_ / "face.png", moving_picture(1, 64, 64)[0]);
    write_sound(folder_ / "voice.wav", 16000, 5.1);
    json fields = {{"task", "s2v"},
                   {"model", WAN_SOURCE_DIR "/tests/golden/checkpoints/Wan2.2-S2V-14B"},
                   {"prompt", "a face"},
                   {"num_frames", nullptr},
                   {"num_inference_steps", 1},
                   {"guidance_scale", 1},
                   {"image_url", "face.png"},
                   {"audio_url", "voice.wav"}};
    fields.update(more);
    return request(fields);
  }
};

TEST_F(SafetySpeech, IsCheckedClipByClipAndGoesOnFromItsClips) {
  const json checker = {{"safety_checker", "everything"}, {"enable_safety_checker", false}};
  Steps steps, again;
  const SafetyRefusal refusal = refusal_of(speech(checker), steps);
  EXPECT_EQ(steps.made, 2) << "one for each clip";
  EXPECT_EQ(refusal.record.output->frames, 8) << "of 82 frames";
  EXPECT_TRUE(VideoReader({folder_ / "a.refused.mp4", "video"}).info().has_audio);
  refusal_of(speech(checker), again);
  EXPECT_EQ(again.made, 0);
  json blur = checker;
  blur["safety_action"] = "blur";
  Steps rest;
  run(speech(blur), rest);
  EXPECT_EQ(rest.made, 0) << "no clip is made again";
  EXPECT_EQ(frames_of(folder_ / "a.mp4").size(), 82u);
  EXPECT_TRUE(VideoReader({folder_ / "a.mp4", "video"}).info().has_audio);
  EXPECT_LT(detail(frames_of(folder_ / "a.mp4")[40]), detail(frames_of(folder_ / "a.refused.mp4")[40]));
}

TEST_F(SafetySpeech, FramesDrawnBetweenOthersAreNotCounted) {
  write_interpolator(folder_ / "film_net.safetensors", "film");
  const Request asked = speech({{"num_frames", 9},
                                {"interpolator_model", "film"},
                                {"num_interpolated_frames", 1},
                                {"interpolator", "film_net.safetensors"},
                                {"safety_checker", "nothing"},
                                {"enable_safety_checker", false}});
  run(asked);
  EXPECT_EQ(frames_of(asked.out).size(), 17u);
  EXPECT_EQ(said_in(asked.out)["safety"]["output"]["frames"], 8) << "of 9 frames";
}

TEST_F(SafetySpeech, ResumedOnesSayTheSameAndThePictureIsLookedAtFirst) {
  const Request asked = speech({{"safety_checker", "nothing"}});
  const std::string want = bytes_of(run(asked));
  fs::remove(asked.out);
  Steps broken(1);
  EXPECT_THROW(run(asked, broken), Cancelled);
  EXPECT_EQ(bytes_of(run(asked)), want);
  const json said = said_in(asked.out)["safety"];
  EXPECT_EQ(said["inputs"]["image_url"]["flagged"], false);
  EXPECT_EQ(said["output"]["frames"], 8);
  Steps steps;
  EXPECT_EQ(refusal_of(speech({{"safety_checker", "everything"}, {"out", folder_ / "b.mp4"}}), steps).field,
            "image_url");
  EXPECT_EQ(steps.made, 0);
}

}  // namespace
}  // namespace wan
