// How weights come to a device that the CPU stands for: by the ring, ahead of time, from --cache-dir; and what becomes of
// files that change meanwhile. Nothing of it changes a byte of a video.
#include <sys/stat.h>
#include <unistd.h>

#include "engine/residency/fit.h"
#include "engine/residency/job_plan.h"
#include "engine/residency/weight_cache.h"
#include "models/files/error.h"
#include "tests/engine/device_memory_support.h"

namespace wan {
namespace {

class Loading : public DeviceMemory {
 protected:
  /// The nano model with experts in float32, whose values no other type holds.
  fs::path float_model() const {
    const fs::path to = folder_ / "floats";
    fs::copy(kNano, to, fs::copy_options::recursive);
    for (const char* expert : {"high_noise_model", "low_noise_model"}) {
      const Checkpoint file = Checkpoint::open(kNano / expert);
      std::map<std::string, at::Tensor> tensors;
      for (const auto& entry : file.tensors())
        tensors[entry.first] = file.map(entry.first).to(at::kFloat).contiguous() * 1.001;
      for (const auto& path : Checkpoint::paths(to / expert)) fs::remove(path);
      write_safetensors(to / expert / "diffusion_pytorch_model.safetensors", tensors);
    }
    return to;
  }

  /// What a run told of loading and of the cache.
  struct Heard {
    std::map<std::string, Log::Fields> loads = {};
    std::vector<std::string> notes = {};  // about experts
    std::vector<Log::Fields> written = {};
    Log log{[this](std::string_view event, const Log::Fields& fields) {
      if (event == "load") loads[fields.at("network")] = fields;
      if (event == "cache") written.push_back(fields);
      if (event == "note" && fields.at("subject").get<std::string>().ends_with("_noise"))
        notes.push_back(fields.at("subject").get<std::string>() + " " + fields.at("text").get<std::string>());
    }};
  };
  std::string heard(const Request& request, Heard& heard, Progress* progress = nullptr) {
    Silent silent;
    const std::string bytes = bytes_of(render(request, {.save_every = {}}, heard.log, progress ? *progress : silent));
    fs::remove(request.out);
    return bytes;
  }
};

/// Calls `act` at the first step of denoising.
struct AtTheFirstStep : Progress {
  explicit AtTheFirstStep(std::function<void()> act) : act(std::move(act)) {}
  void at(const Report& report) override {
    if (report.stage == Stage::Denoise && !std::exchange(done, true)) act();
  }
  std::function<void()> act;
  bool done = false;
};

TEST_F(Loading, AnExpertIsReadAheadWhileTheTextEncoderRuns) {
  const Request wanted = request(Task::T2V, kNano);
  const std::string want = rendered(wanted);
  const auto [least, all] = limits_of(wanted);
  for (const uint64_t limit : {least, all}) {
    Heard told;
    EXPECT_TRUE(heard(limited(wanted, limit), told) == want);
    ASSERT_TRUE(told.loads.contains("high-noise expert"));
    EXPECT_TRUE(told.loads["high-noise expert"].contains("bytes_ahead"));
    EXPECT_TRUE(told.loads["low-noise expert"].contains("bytes_ahead")) << "while the other one computes";
    EXPECT_FALSE(told.loads["text encoder"].contains("bytes_ahead"));
  }
  Heard plain;
  EXPECT_TRUE(heard(wanted, plain) == want);
  EXPECT_FALSE(plain.loads["high-noise expert"].contains("bytes_ahead")) << "mapped files are left to the system";
}

/// Stops like Ctrl-C, but where it is asked between its reports alone.
struct Stopping : Progress {
  void at(const Report&) override {}
  void check() override {
    if (stops) throw Cancelled();
  }
  bool stops = false;
};

TEST_F(Loading, AStopIsHeardWhileTheVaeIsLoadedForLatentsAlone) {
  const Request wanted = request(Task::T2V, kNano);
  Steps decoding(Stage::Decode);
  EXPECT_THROW(render(wanted, {}, Log{}, decoding), Cancelled);
  const fs::path work = WorkFolder::beside(wanted.out);
  const auto latents = WorkFolder(work, WorkFolder::draw_number(work)).latents();
  ASSERT_TRUE(latents);
  const SavedLatents saved = load_latents(*latents);
  const auto decode = [&](bool stops) {
    Stopping progress;
    progress.stops = stops;
    decode_saved(saved, wanted.out, resolve_placement(limited(wanted, limits_of(wanted).second)),
                 parts_of(wanted.model, wanted.task), {}, Log{}, progress);
  };
  EXPECT_THROW(decode(true), Cancelled);
  EXPECT_FALSE(fs::exists(wanted.out));
  decode(false);
  EXPECT_TRUE(fs::exists(wanted.out));
}

TEST_F(Loading, AStopIsHeardWhileANetworkIsBroughtIn) {
  const Request wanted = request(Task::T2V, kNano);
  const std::string want = rendered(wanted);
  const auto [least, all] = limits_of(wanted);
  for (const uint64_t limit : {least, all}) {
    Stopping progress;
    std::vector<std::string> loads;
    const Log log{[&](std::string_view event, const Log::Fields& fields) {
      if (event != "load") return;
      loads.push_back(fields.at("network"));
      progress.stops = loads.back() == "text encoder";
    }};
    EXPECT_THROW(render(limited(wanted, limit), {.save_every = {}}, log, progress), Cancelled);
    EXPECT_EQ(loads, std::vector<std::string>{"text encoder"}) << "the expert is not loaded to its end";
    Heard told;
    EXPECT_TRUE(heard(limited(wanted, limit), told) == want);
  }
}

TEST_F(Loading, AStopIsHeardWhereNothingIsCopied) {
  for (const nlohmann::json& more : {nlohmann::json::object(), nlohmann::json{{"weights", "int8"}}}) {
    SCOPED_TRACE(more.dump());
    const Request wanted = request(Task::T2V, kNano, more);
    const std::string want = rendered(wanted);
    Stopping progress;
    std::vector<std::string> loads;
    const Log log{[&](std::string_view event, const Log::Fields& fields) {
      if (event != "load") return;
      loads.push_back(fields.at("network"));
      progress.stops = loads.back() == "text encoder";
    }};
    EXPECT_THROW(render(wanted, {.save_every = {}}, log, progress), Cancelled);
    EXPECT_EQ(loads, std::vector<std::string>{"text encoder"}) << "the expert is not loaded to its end";
    Heard told;
    EXPECT_TRUE(heard(wanted, told) == want);
  }
}

TEST_F(Loading, AnExpertThatIsCutWhileItIsStreamedEndsTheRunByName) {
  fs::copy(kNano, folder_ / "m", fs::copy_options::recursive);
  const Request wanted = request(Task::T2V, folder_ / "m");
  const Request least = limited(wanted, limits_of(wanted).first);
  const fs::path file = folder_ / "m/high_noise_model/diffusion_pytorch_model-00001-of-00002.safetensors";
  fs::copy_file(file, folder_ / "whole");
  AtTheFirstStep cutting([&] { fs::resize_file(file, fs::file_size(file) / 8); });
  Heard told;
  try {
    heard(least, told, &cutting);
    ADD_FAILURE() << "goes on";
  } catch (const ModelError& error) {
    const std::string why = error.what();
    EXPECT_NE(why.find("diffusion_pytorch_model-00001-of-00002.safetensors"), std::string::npos) << why;
    EXPECT_NE(why.find("must stay as it "), std::string::npos) << why;
  }
}

TEST_F(Loading, TheCacheGivesTheSameBytes) {
  Request wanted = request(Task::T2V, float_model(), {{"dtype", "bf16"}});
  const auto [least, all] = limits_of(wanted);
  for (const uint64_t limit : {least, all}) {
    SCOPED_TRACE(limit);
    const fs::path folder = folder_ / ("cache" + std::to_string(limit));
    const std::string want = rendered(limited(wanted, limit));
    Request cached = limited(wanted, limit);
    cached.cache_dir = folder.string();
    Heard first, second;
    EXPECT_TRUE(heard(cached, first) == want);
    ASSERT_EQ(first.notes.size(), 2u) << "one for each expert";
    EXPECT_NE(first.notes[0].find("high_noise is written as bf16 to --cache-dir: "), std::string::npos)
        << first.notes[0];
    EXPECT_TRUE(heard(cached, second) == want);
    EXPECT_TRUE(second.notes.empty()) << second.notes[0];
    // While a copy is written the log says where, and how large it will be: at the beginning and at the end.
    ASSERT_GE(first.written.size(), 4u);
    EXPECT_TRUE(second.written.empty());
    const Log::Fields& begun = first.written[0];
    EXPECT_EQ(begun.at("network"), "high-noise expert");
    EXPECT_EQ(begun.at("tensors"), 0);
    const Log::Fields& ended = first.written[1];
    EXPECT_EQ(ended.at("tensors"), ended.at("of"));
    const std::string name = fs::path(ended.at("file").get<std::string>()).filename();
    EXPECT_EQ(ended.at("file_bytes"), Checkpoint::open(folder / name).bytes());
    EXPECT_LT(second.loads["high-noise expert"].at("bytes").get<uint64_t>() * 10,
              Checkpoint::open(wanted.model + "/high_noise_model").bytes() * 8)
        << "fewer bytes are loaded";
  }
}

TEST_F(Loading, AnExpertWhoseCopyIsWrittenToMeanwhileIsCountedOnce) {
  Request wanted = request(Task::T2V, float_model(), {{"dtype", "bf16"}});
  wanted = limited(wanted, limits_of(wanted).second);
  wanted.cache_dir = (folder_ / "cache").string();
  Heard first, told;
  heard(wanted, first);
  const ModelParts parts = parts_of(wanted.model, wanted.task);
  const Placement placement = resolve_placement(wanted);
  Networks networks(parts, placement, fit_of(wanted, parts, placement).activations, told.log);
  networks.ask([&] {  // while the copy is read
    for (const auto& entry : fs::directory_iterator(folder_ / "cache"))
      if (entry.path().extension() == ".safetensors")
        fs::last_write_time(entry.path(), fs::file_time_type::clock::now());
  });
  networks.expert(true);
  ASSERT_EQ(told.notes.size(), 1u);
  EXPECT_TRUE(told.notes[0].starts_with("high_noise is loaded from its own files, not from a copy in --cache-dir: "))
      << told.notes[0];
  EXPECT_EQ(networks.expert_loads(), 1);
}

TEST_F(Loading, ACacheThatIsOfNoUseIsNotedAndTheRunGoesOn) {
  Request wanted = request(Task::T2V, float_model(), {{"dtype", "bf16"}});
  wanted = limited(wanted, limits_of(wanted).second);
  const std::string want = rendered(wanted);
  const auto expect_notes = [&](const fs::path& folder, const std::string& text, size_t count) {
    SCOPED_TRACE(text);
    Request cached = wanted;
    cached.cache_dir = folder.string();
    Heard told;
    EXPECT_TRUE(heard(cached, told) == want);
    ASSERT_EQ(told.notes.size(), count);
    EXPECT_NE(told.notes[0].find(text), std::string::npos) << told.notes[0];
  };
  std::ofstream(folder_ / "file") << "no folder";
  expect_notes(folder_ / "file", "--cache-dir must be a folder, or one that can be made; ", 2);
  const fs::path folder = folder_ / "cache";
  expect_notes(folder, "is written as bf16", 2);
  std::vector<fs::path> copies;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".safetensors") copies.push_back(entry.path());
  ASSERT_EQ(copies.size(), 2u);
  const auto high = std::find_if(copies.begin(), copies.end(), [](const fs::path& path) {
    return path.filename().string().find("high") != std::string::npos;
  });
  ASSERT_NE(high, copies.end());
  fs::resize_file(*high, fs::file_size(*high) / 2);
  expect_notes(folder, "has a copy in --cache-dir that is damaged", 2);  // and that it is kept again
  if (geteuid() == 0) GTEST_SKIP() << "a folder that cannot be written to is none for root";
  chmod(folder.c_str(), 0500);
  Request cached = wanted;
  cached.cache_dir = folder.string();
  Heard told;
  EXPECT_TRUE(heard(cached, told) == want);
  EXPECT_TRUE(told.notes.empty()) << "what is there is used";
  chmod(folder.c_str(), 0700);
}

TEST_F(Loading, ThePlanCountsTheCache) {
  Request wanted = request(Task::T2V, float_model(), {{"dtype", "bf16"}});
  wanted = limited(wanted, limits_of(wanted).second);
  const JobPlan without = job_plan(wanted, {});
  EXPECT_TRUE(without.cache.empty());
  Request cached = wanted;
  cached.cache_dir = (folder_ / "cache").string();
  const JobPlan with = job_plan(cached, {});
  ASSERT_EQ(with.cache.size(), 2u);
  EXPECT_FALSE(with.cache[0].is_there);
  EXPECT_EQ(with.cache[0].form, "bf16");
  const auto file = [](const JobPlan& made) { return made.workload.networks.at(Network::HighNoise).file(); };
  EXPECT_EQ(file(without), with.cache[0].source_bytes);
  EXPECT_EQ(file(with), with.cache[0].bytes);
  EXPECT_EQ(without.plan.device_bytes(), with.plan.device_bytes());
  EXPECT_FALSE(fs::exists(folder_ / "cache")) << "a plan writes nothing";
  Heard told;
  heard(cached, told);
  const JobPlan after = job_plan(cached, {});
  EXPECT_TRUE(after.cache.at(0).is_there && after.cache.at(1).is_there);
}

TEST(LoadingRequest, TheCacheIsNoPartOfTheVideo) {
  nlohmann::json fields = {{"model", kNano.string()}, {"prompt", "a red circle"}, {"seed", 1}};
  const Request plain = parse(Task::T2V, fields, {});
  fields["cache_dir"] = "somewhere";
  const Request cached = parse(Task::T2V, fields, {});
  EXPECT_EQ(cached.cache_dir, "somewhere");
  EXPECT_TRUE(plain.cache_dir.empty());
  EXPECT_EQ(to_json(cached).dump(), to_json(plain).dump());
}

}  // namespace
}  // namespace wan
