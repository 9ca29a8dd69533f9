// Single renders: an interrupted one goes on with the same bytes, existing files are safe, nothing is left over.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "engine/media/metadata.h"
#include "engine/media/video_reader.h"
#include "engine/request/params.h"
#include "engine/request/parse.h"
#include "tests/parts.h"
#include "tests/support/render.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

/// The file's bytes as a data URL.
std::string data_url_of(const std::string& path) {
  std::string url = "data:video/mp4;base64,";
  const std::string bytes = bytes_of(path);
  constexpr const char* kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t group = 0;
    for (size_t i = at; i < at + 3; ++i) group = group << 8 | (i < bytes.size() ? uint8_t(bytes[i]) : 0);
    for (int shift = 18; shift >= 0; shift -= 6) url += kLetters[group >> shift & 63];
  }
  for (size_t i = 0; i < (3 - bytes.size() % 3) % 3; ++i) url[url.size() - 1 - i] = '=';
  return url;
}

/// Of a VAE in float32.
constexpr VaeTiles kTiles{.half = 0, .wide = 128};

/// As work folders have them.
nlohmann::json noted(const VaeTiles& tiles) {
  return {{"float16", tiles.half}, {"float32", tiles.wide}};
}

class Render : public testing::Test {
 protected:
  /// A video to video request of two steps, with `more` in place of its fields.
  Request request(nlohmann::json more = nlohmann::json::object()) const {
    nlohmann::json fields = {{"task", "v2v"},
                             {"model", WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano"},
                             {"prompt", "a red circle"},
                             {"unlocked", true},
                             {"width", 32},
                             {"height", 32},
                             {"num_frames", 5},
                             {"num_inference_steps", 4},
                             {"strength", 1.0},
                             {"resample_fps", true},
                             {"device", "cpu"},
                             {"video_url", media_file("aac_sound.mp4")},
                             {"out", folder_ / "a.mp4"}};
    fields.update(more);
    for (auto field = fields.begin(); field != fields.end();)
      field = field->is_null() ? fields.erase(field) : std::next(field);
    return parse(fields, {.folder = folder_.path()});
  }

  std::string run(const Request& request, const SingleOptions& options = {}) {
    Silent silent;
    return run(request, silent, options);
  }
  std::string run(const Request& request, Progress& progress, const SingleOptions& options = {}) {
    return render(request, options, log_, progress);
  }
  /// Text to video of as many steps.
  Request text_request() const {
    return request(
        {{"seed", 1}, {"task", "t2v"}, {"strength", nullptr}, {"resample_fps", nullptr}, {"video_url", nullptr}});
  }

  VaeTiles tiles_of(const Request& made) const {
    return parse_record(read_metadata({made.out, "out"}), "out").vae_tiles;
  }
  /// The names of the work files of an interrupted run that end so.
  std::vector<std::string> names_of(const Request& interrupted, const std::string& ending) const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(WorkFolder::beside(interrupted.out)))
      if (const std::string file = entry.path().filename(); file.ends_with(ending))
        names.push_back(file.substr(0, file.size() - ending.size()));
    return names;
  }
  /// Notes tiles for each of them, as a run on a card would have: by default on one with less memory.
  void note_tiles(const Request& interrupted, const std::string& ending, const VaeTiles& tiles = kTiles) const {
    const std::vector<std::string> names = names_of(interrupted, ending);
    EXPECT_FALSE(names.empty());
    const fs::path work = WorkFolder::beside(interrupted.out);
    WorkFolder folder(work, WorkFolder::draw_number(work));
    for (const std::string& name : names) {
      const nlohmann::json* known = folder.find(name);
      nlohmann::json note = known ? *known : nlohmann::json::object();
      note["vae_tiles"] = noted(tiles);
      folder.note(name, note);
    }
  }

  std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path())) names.insert(entry.path().filename());
    return names;
  }

  TemporaryFolder folder_;
  std::vector<std::string> events_;
  Log log_{[this](std::string_view event, const Log::Fields&) { events_.emplace_back(event); }};

 private:
  c10::InferenceMode inference_;
};

TEST_F(Render, GoesOnWhereItWasInterruptedWithTheSameBytes) {
  const Request wanted = request({{"seed", 1}});
  const std::string whole = bytes_of(run(wanted));
  fs::remove(wanted.out);
  int64_t made = 0;
  for (int64_t runs = 0; !fs::exists(wanted.out); ++runs) {
    ASSERT_LT(runs, 5);
    Steps one(1);
    try {
      run(wanted, one);
      made += one.made;
    } catch (const Cancelled& stopped) {
      made += one.made - 1;
      EXPECT_NE(std::string(stopped.what()).find("a.mp4.work"), std::string::npos) << stopped.what();
      EXPECT_EQ(files(), std::set<std::string>{"a.mp4.work"});
    }
  }
  EXPECT_EQ(made, 4) << "no step twice";
  EXPECT_TRUE(bytes_of(wanted.out) == whole);
  EXPECT_EQ(files(), std::set<std::string>{"a.mp4"});
}

TEST_F(Render, AnInterruptBeforeTheFirstStepKeepsWhatWasEncoded) {
  Steps none(0), rest;
  EXPECT_THROW(run(request(), none), Cancelled);
  EXPECT_EQ(files(), std::set<std::string>{"a.mp4.work"});
  struct NoEncoding : Silent {
    void at(const Report& report) override { EXPECT_NE(report.stage, Stage::Encode) << "encoded before"; }
  } last;
  run(request(), last);
  EXPECT_EQ(files(), std::set<std::string>{"a.mp4"});
}

TEST_F(Render, AnInterruptBeforeAnythingIsDoneLeavesNothing) {
  Steps stopped(Stage::Encode);
  EXPECT_THROW(run(request(), stopped), Cancelled);
  EXPECT_EQ(files(), std::set<std::string>());
}

TEST_F(Render, AFinishedVideoLeavesTheWorkOfAnotherSeed) {
  run(request({{"seed", 1}}));
  Steps few(2), rest;
  EXPECT_THROW(run(request({{"seed", 2}}), few, {.overwrite = true}), Cancelled);
  run(request({{"seed", 1}}));
  EXPECT_EQ(files(), (std::set<std::string>{"a.mp4", "a.mp4.work"}));
  run(request({{"seed", 2}}), rest, {.overwrite = true});
  EXPECT_EQ(rest.made, 2) << "the steps that were kept are not made again";
}

TEST_F(Render, TheWorkOfABatchIsNotTaken) {
  const fs::path work = folder_ / "a.mp4.work";
  WorkFolder(work, 1).note("job", {{"state", 1}});
  for (bool fresh : {false, true}) {
    try {
      run(request(), {.fresh = fresh});
      ADD_FAILURE() << "taken";
    } catch (const InvalidRequest& invalid) {
      EXPECT_NE(std::string(invalid.what()).find("batch"), std::string::npos) << invalid.what();
    }
  }
  EXPECT_TRUE(WorkFolder::peek(work, "job"));
}

TEST_F(Render, AFileThatAppearsMeanwhileIsNotReplaced) {
  const std::string out = folder_ / "a.mp4";
  struct Appears : Silent {
    explicit Appears(std::string path) : path(std::move(path)) {}
    void at(const Report& report) override {
      if (report.stage == Stage::Denoise) std::ofstream(path) << "another program's";
    }
    std::string path;
  } appears(out);
  EXPECT_THROW(run(request(), appears), InvalidRequest);
  EXPECT_EQ(bytes_of(out), "another program's");
  EXPECT_EQ(files(), (std::set<std::string>{"a.mp4", "a.mp4.work"}));
  fs::remove(out);
  Steps rest;
  run(request(), rest);
  EXPECT_EQ(rest.made, 0) << "only decoded";
}

TEST_F(Render, AnUnnamedRunFindsItsUnfinishedWork) {
  const Request first = request({{"out", nullptr}}), second = request({{"out", nullptr}});
  ASSERT_NE(first.seed, second.seed);
  Steps few(2), other(1), rest;
  EXPECT_THROW(run(first, few), Cancelled);
  EXPECT_THROW(run(request({{"out", nullptr}, {"prompt", "a blue square"}}), other), Cancelled);
  EXPECT_EQ(run(second, rest), first.out);
  EXPECT_EQ(rest.made, 2);
  EXPECT_EQ(files().size(), 2u) << "the other request's work stays";
  Steps all;
  const std::string again = run(request({{"out", nullptr}, {"seed", first.seed}}), all);
  EXPECT_EQ(fs::path(again).filename(), "v2v-" + std::to_string(first.seed) + "-2.mp4") << "a free name";
  EXPECT_EQ(all.made, 4);
}

TEST_F(Render, AGivenSeedDoesNotTakeUpAnother) {
  Steps few(2), all;
  EXPECT_THROW(run(request({{"seed", 1}}), few), Cancelled);
  try {
    run(request({{"seed", 2}}), all);
    ADD_FAILURE() << "two steps of the other seed were lost";
  } catch (const InvalidRequest& invalid) {
    EXPECT_NE(std::string(invalid.what()).find("--fresh"), std::string::npos) << invalid.what();
  }
  run(request({{"seed", 2}}), all, {.fresh = true});
  EXPECT_EQ(all.made, 4);
  EXPECT_EQ(files(), std::set<std::string>{"a.mp4"});
}

TEST_F(Render, FreshBeginsAnew) {
  Steps few(2), all;
  EXPECT_THROW(run(request({{"seed", 1}}), few), Cancelled);
  run(request({{"seed", 1}}), all, {.fresh = true});
  EXPECT_EQ(all.made, 4);
}

TEST_F(Render, FreshGetsPastABrokenJournal) {
  const Request wanted = request({{"seed", 1}});
  Steps few(2), refused, all;
  EXPECT_THROW(run(wanted, few), Cancelled);
  write_bytes(WorkFolder::beside(wanted.out) / "journal.jsonl", "no journal\n");
  try {
    run(wanted, refused);
    ADD_FAILURE() << "two steps were lost";
  } catch (const InvalidRequest& invalid) {
    EXPECT_NE(std::string(invalid.what()).find("--fresh starts anew"), std::string::npos) << invalid.what();
  }
  run(wanted, all, {.fresh = true});
  EXPECT_EQ(all.made, 4);
  EXPECT_EQ(files(), std::set<std::string>{"a.mp4"});
}

TEST_F(Render, WorkThatDoesNotSayWhoseItIsIsNotDropped) {
  const Request wanted = request({{"seed", 1}});
  Steps few(2), refused, all;
  EXPECT_THROW(run(wanted, few), Cancelled);
  const std::string journal = WorkFolder::beside(wanted.out) / "journal.jsonl";
  std::string lines = bytes_of(journal);
  lines[lines.find('\n') + 1] = '\x01';
  write_bytes(journal, lines);
  try {
    run(wanted, refused);
    ADD_FAILURE() << "two steps were lost";
  } catch (const InvalidRequest& invalid) {
    EXPECT_NE(std::string(invalid.what()).find("does not say whose"), std::string::npos) << invalid.what();
  }
  run(wanted, all, {.fresh = true});
  EXPECT_EQ(all.made, 4);
}

TEST_F(Render, AnExistingFileIsReplacedByWordOnly) {
  const Request wanted = request({{"seed", 1}});
  run(wanted);
  const std::string first = bytes_of(wanted.out);
  Steps again, other, unknown, overwritten;
  run(wanted, again);
  EXPECT_EQ(again.made, 0) << "the same request has made it";
  EXPECT_EQ(events_.back(), "finished");
  run(request(), again);
  EXPECT_EQ(again.made, 0) << "so it has where no seed is asked for";
  EXPECT_THROW(run(request({{"seed", 2}}), other), InvalidRequest);
  EXPECT_THROW(run(request({{"seed", 1}, {"prompt", "a blue square"}}), other), InvalidRequest);
  EXPECT_EQ(other.reports, 0);
  EXPECT_TRUE(bytes_of(wanted.out) == first);
  run(request({{"seed", 2}}), overwritten, {.overwrite = true});
  EXPECT_EQ(overwritten.made, 4);
  EXPECT_FALSE(bytes_of(wanted.out) == first);
  write_bytes(wanted.out, "my own");
  EXPECT_THROW(run(wanted, unknown), InvalidRequest);
  EXPECT_EQ(bytes_of(wanted.out), "my own");
  EXPECT_EQ(files(), std::set<std::string>{"a.mp4"});
}

TEST_F(Render, AContactSheetReplacesAFileByWordOnly) {
  const std::string sheet = folder_ / "sheet.png";
  write_bytes(sheet, "my own");
  const SingleOptions asked{.output = {.contact_sheet = sheet}};
  Steps refused, made;
  try {
    run(request(), refused, asked);
    ADD_FAILURE() << "replaced";
  } catch (const InvalidRequest& invalid) {
    EXPECT_EQ(invalid.errors.at(0).field, "contact_sheet") << invalid.what();
  }
  EXPECT_EQ(refused.reports, 0);
  EXPECT_EQ(bytes_of(sheet), "my own");
  run(request(), made, {.output = asked.output, .overwrite = true});
  EXPECT_TRUE(bytes_of(sheet).starts_with("\x89PNG"));
}

TEST_F(Render, AStrengthThatKeepsNoStepIsNotedInTheVideo) {
  const Request wanted = request({{"strength", 0.0}});
  run(wanted);
  const Record made = parse_record(read_metadata({wanted.out, "out"}), "out");
  const auto about_strength = [](const Note& note) { return note.subject == "strength"; };
  EXPECT_EQ(std::count_if(made.notes.begin(), made.notes.end(), about_strength), 1);
  EXPECT_EQ(std::count(events_.begin(), events_.end(), "warning"), 0);
}

TEST_F(Render, AResumedRunSaysOnceWhatIsKept) {
  const Request wanted = request({{"seed", 1}});
  std::vector<std::string> told;
  const Log log{[&](std::string_view event, const Log::Fields& fields) {
    if (event == "resume") told.push_back(fields["text"]);
  }};
  const auto stopped_at = [&](Steps steps) {
    told.clear();
    EXPECT_THROW(render(wanted, {}, log, steps), Cancelled);
    return told;
  };
  EXPECT_EQ(stopped_at(Steps(0)), std::vector<std::string>{}) << "nothing was kept";
  EXPECT_EQ(stopped_at(Steps(1)), std::vector<std::string>{"goes on with what was encoded"});
  EXPECT_EQ(stopped_at(Steps(2)), std::vector<std::string>{"goes on from step 2 of 4"});
  EXPECT_EQ(stopped_at(Steps(Stage::Decode)), std::vector<std::string>{"goes on from step 4 of 4"});
  told.clear();
  Silent silent;
  render(wanted, {}, log, silent);
  EXPECT_EQ(told, std::vector<std::string>{"goes on with the decoding: all 4 steps are made"});
}

TEST_F(Render, OneRunAtATime) {
  const Request wanted = request();
  const WorkFolder other(WorkFolder::beside(wanted.out), 1);
  try {
    run(wanted);
    ADD_FAILURE() << "two runs in one folder";
  } catch (const InvalidRequest& invalid) {
    EXPECT_EQ(invalid.errors.at(0).field, "out") << invalid.what();
  }
}

TEST_F(Render, AUrlIsKeptForItsSoundUntilTheVideoIsThere) {
  const Request wanted = request({{"seed", 1}, {"video_url", data_url_of(media_file("aac_sound.mp4"))}});
  Steps stopped(Stage::Decode);
  EXPECT_THROW(run(wanted, stopped), Cancelled);
  const fs::path work = WorkFolder::beside(wanted.out);
  EXPECT_TRUE(fs::exists(copy_path(work, wanted.video_url)));
  run(wanted);
  EXPECT_TRUE(VideoReader({wanted.out, "out"}).info().has_audio);
  EXPECT_EQ(files(), std::set<std::string>{"a.mp4"});
}

TEST_F(Render, LatentsAreDecodedByThemselves) {
  const Request wanted = request({{"seed", 1}});
  const std::string whole = bytes_of(run(wanted));
  fs::remove(wanted.out);
  Steps stopped(Stage::Decode);
  EXPECT_THROW(run(wanted, stopped), Cancelled);
  EXPECT_EQ(events_.back(), "kept");
  WorkFolder work(WorkFolder::beside(wanted.out), WorkFolder::draw_number(WorkFolder::beside(wanted.out)));
  ASSERT_TRUE(work.latents());
  Silent silent;
  SavedLatents saved = load_latents(*work.latents());
  EXPECT_EQ(saved.audio_from, "aac_sound.mp4") << "its name alone";
  EXPECT_THROW(decode_saved(saved, wanted.out, Placement{}, parts_of(wanted.model, Task::V2V), {}, Log{}, silent),
               InvalidRequest);
  saved.audio_from = wanted.video_url;
  decode_saved(saved, wanted.out, Placement{}, parts_of(wanted.model, Task::V2V), {}, Log{}, silent);
  EXPECT_TRUE(bytes_of(wanted.out) == whole);
}

TEST_F(Render, TheTilesThatAJobWasBegunWithHoldAfterAnInterrupt) {
  for (const Request& wanted : {request({{"seed", 1}}), text_request()}) {
    SCOPED_TRACE(task_name(wanted.task));
    run(wanted);
    EXPECT_EQ(tiles_of(wanted), VaeTiles()) << "on the CPU there are none by themselves";
    fs::remove(wanted.out);
    Steps few(2), rest;
    EXPECT_THROW(run(wanted, few), Cancelled);
    note_tiles(wanted, ".sampling.safetensors");
    events_.clear();
    run(wanted, rest);
    EXPECT_EQ(rest.made, 2);
    EXPECT_EQ(tiles_of(wanted), kTiles);
    EXPECT_NE(std::find(events_.begin(), events_.end(), "vae"), events_.end()) << "they are logged";
    EXPECT_EQ(files(), std::set<std::string>{"a.mp4"});
    fs::remove(wanted.out);
  }
}

TEST_F(Render, TheTilesAreNotedWhereAJobBegins) {
  const Request wanted = text_request();
  Steps few(2);
  EXPECT_THROW(run(wanted, few, {.tiles = kTiles}), Cancelled);
  const fs::path work = WorkFolder::beside(wanted.out);
  const std::vector<std::string> names = names_of(wanted, ".sampling.safetensors");
  ASSERT_EQ(names.size(), 1u);
  const auto note = WorkFolder::peek(work, names[0]);
  ASSERT_TRUE(note && note->contains("vae_tiles"));
  EXPECT_EQ(note->at("vae_tiles"), noted(kTiles));
}

TEST_F(Render, TheTilesOfAnEncodingHoldAfterAnInterrupt) {
  const Request wanted = request({{"seed", 1}});
  Steps none(0);
  EXPECT_THROW(run(wanted, none), Cancelled);
  note_tiles(wanted, ".encoded.safetensors");
  run(wanted);
  EXPECT_EQ(tiles_of(wanted), kTiles);
}

TEST_F(Render, TilesThatNoRunNotesAreRefused) {
  const Request wanted = text_request();
  Steps few(2), rest;
  EXPECT_THROW(run(wanted, few), Cancelled);
  const std::string name = names_of(wanted, ".sampling.safetensors").at(0);
  const fs::path work = WorkFolder::beside(wanted.out);
  for (const char* tiles : {R"({"float16": 0, "float32": 64})", R"({"float16": -1, "float32": 0})", R"({"float16": 0})",
                            R"({"float16": 0, "float32": "128"})", R"({"float16": 0, "float32": 128.5})", "128"}) {
    SCOPED_TRACE(tiles);
    {
      WorkFolder folder(work, WorkFolder::draw_number(work));
      const nlohmann::json* known = folder.find(name);
      nlohmann::json note = known ? *known : nlohmann::json::object();
      note["vae_tiles"] = nlohmann::json::parse(tiles);
      folder.note(name, note);
    }
    try {
      run(wanted);
      ADD_FAILURE() << "goes on";
    } catch (const InvalidRequest& refused) {
      const std::string line = refused.errors.at(0).line();
      EXPECT_TRUE(line.starts_with("[work] must note the VAE's tiles in float")) << line;
      EXPECT_NE(line.find(" as 0 or 128 rows"), std::string::npos) << line;
      EXPECT_NE(line.find("a.mp4.work"), std::string::npos) << line;
    }
    ASSERT_EQ(names_of(wanted, ".sampling.safetensors").size(), 1u) << "the steps stay";
  }
  note_tiles(wanted, ".sampling.safetensors");
  run(wanted, rest);
  EXPECT_EQ(rest.made, 2);
  EXPECT_EQ(tiles_of(wanted), kTiles);
}

TEST_F(Render, AReplayAndTheRunBesideItDoNotTakeTheTilesOfEachOther) {
  const Request wanted = request({{"seed", 1}});
  const std::vector<std::optional<VaeTiles>> both = {kTiles, std::nullopt};
  for (const bool replay_first : {true, false}) {
    SCOPED_TRACE(replay_first);
    const std::optional<VaeTiles> first = both[replay_first ? 0 : 1], second = both[replay_first ? 1 : 0];
    Steps none(0);
    EXPECT_THROW(run(wanted, none, {.tiles = first}), Cancelled);
    if (!replay_first) note_tiles(wanted, ".encoded.safetensors", {.half = 0, .wide = 0});
    run(wanted, {.tiles = second});
    EXPECT_EQ(tiles_of(wanted), second.value_or(VaeTiles())) << "its input is encoded by itself";
    fs::remove(wanted.out);
  }
}

TEST_F(Render, TheTilesOfACardsLatentsHoldAfterAnInterrupt) {
  const Request wanted = text_request();
  for (const char* device : {"cuda", "cpu"}) {
    Steps stopped(Stage::Decode);
    EXPECT_THROW(run(wanted, stopped), Cancelled);
    const std::vector<std::string> names = names_of(wanted, ".latents.safetensors");
    ASSERT_EQ(names.size(), 1u);
    const fs::path path = WorkFolder::beside(wanted.out) / (names[0] + ".latents.safetensors");
    SavedLatents saved = load_latents(path);
    saved.record.device = device;
    saved.record.vae_tiles = kTiles;
    save_latents(path, saved);
    run(wanted);
    EXPECT_EQ(tiles_of(wanted), device == std::string("cuda") ? kTiles : VaeTiles()) << device;
    fs::remove(wanted.out);
  }
}

TEST_F(Render, LatentsOfACardAreDecodedInItsTiles) {
  const Request wanted = request({{"seed", 1}});
  Steps stopped(Stage::Decode);
  EXPECT_THROW(run(wanted, stopped), Cancelled);
  WorkFolder work(WorkFolder::beside(wanted.out), WorkFolder::draw_number(WorkFolder::beside(wanted.out)));
  SavedLatents saved = load_latents(*work.latents());
  saved.audio_from.clear();
  saved.record.vae_tiles = kTiles;
  const auto decoded = [&](const char* device) {
    Silent silent;
    saved.record.device = device;
    decode_saved(saved, wanted.out, Placement{}, parts_of(wanted.model, Task::V2V), {}, Log{}, silent);
    const VaeTiles tiles = tiles_of(wanted);
    fs::remove(wanted.out);
    return tiles;
  };
  EXPECT_EQ(decoded("cuda"), kTiles);
  EXPECT_EQ(decoded("cpu"), VaeTiles());
}

TEST_F(Render, TheUsersOwnFileStays) {
  const std::string video = folder_ / "in.mp4";
  fs::copy_file(media_file("aac_sound.mp4"), video);
  const Request wanted = request({{"video_url", video}});
  Steps stopped(Stage::Decode);
  EXPECT_THROW(run(wanted, stopped), Cancelled);
  run(wanted);
  EXPECT_EQ(files(), (std::set<std::string>{"a.mp4", "in.mp4"}));
}

TEST_F(Render, AnInputThatIsNoneLeavesNothing) {
  write_bytes(folder_ / "in.mp4", "no video");
  EXPECT_THROW(run(request({{"video_url", folder_ / "in.mp4"}})), InvalidRequest);
  EXPECT_THROW(run(request({{"video_url", data_url_of(folder_ / "in.mp4")}})), InvalidRequest);
  EXPECT_EQ(files(), std::set<std::string>{"in.mp4"});
}

}  // namespace
}  // namespace wan
