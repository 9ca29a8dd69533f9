// Live previews: the map that is fitted to a VAE and kept, what the sampling hands out, the file that is replaced, and that
// none of it changes a video.
#include "engine/frames/latent_preview.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/frames/preview_cache.h"
#include "engine/frames/preview_file.h"
#include "engine/job/scheduler.h"
#include "engine/media/image_reader.h"
#include "engine/media/picture_file.h"
#include "engine/media/png.h"
#include "engine/request/parse.h"
#include "engine/residency/builders.h"
#include "engine/residency/open_network.h"
#include "engine/sampling/denoise.h"
#include "models/vae/latent.h"
#include "tests/parts.h"
#include "tests/support/render.h"

namespace wan {
namespace {

namespace fs = std::filesystem;
using at::Tensor;
using vae::LatentRgb;

const fs::path kNano = WAN_SOURCE_DIR "/tests/nano";
const fs::path kModel = kNano / "Wan2.2-T2V-A14B-nano";
const fs::path kSpeechModel = fs::path(WAN_SOURCE_DIR) / "tests/golden/checkpoints/Wan2.2-S2V-14B";

double correlation(const Tensor& one, const Tensor& other) {
  const Tensor a = one.to(at::kDouble).flatten(), b = other.to(at::kDouble).flatten();
  const Tensor x = a - a.mean(), y = b - b.mean();
  return (x.dot(y) / (x.norm() * y.norm())).item<double>();
}

/// A map whose red is channel 0.
LatentRgb red_map() {
  Tensor factors = at::zeros({17, 3}, at::kDouble);
  factors[0][0] = 1;
  return {factors};
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  if (!fs::exists(folder)) return names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
  return names;
}

class LatentPreview : public testing::Test {
 protected:
  /// Text to video with the nano checkpoint, in four steps.
  Request request(nlohmann::json more = nlohmann::json::object()) const {
    nlohmann::json fields = {{"task", "t2v"},
                             {"model", kModel.string()},
                             {"prompt", "a red circle moves to the right on a black background"},
                             {"unlocked", true},
                             {"width", 32},
                             {"height", 32},
                             {"num_frames", 5},
                             {"num_inference_steps", 4},
                             {"seed", 1},
                             {"device", "cpu"},
                             {"out", folder_ / "a.mp4"}};
    fields.update(more);
    return parse(fields, {.folder = folder_.path()});
  }

  std::string run(const Request& request, const OutputOptions& output, Progress& progress, bool overwrite = true) {
    return bytes_of(render(request, {.output = output, .overwrite = overwrite, .previews = maps_}, log_, progress));
  }
  std::string run(const Request& request, const OutputOptions& output = {}) {
    Silent silent;
    return run(request, output, silent);
  }

  int64_t count(const std::string& event) const {
    return std::count_if(events_.begin(), events_.end(), [&](const auto& one) { return one.first == event; });
  }
  std::vector<std::string> notes() const {
    std::vector<std::string> texts;
    for (const auto& [event, fields] : events_)
      if (event == "note" && fields.value("subject", "") == "preview") texts.push_back(fields["text"]);
    return texts;
  }

  TemporaryFolder folder_;
  const std::string preview_ = folder_ / "live.png";
  const fs::path maps_ = folder_ / "cache/previews";
  std::vector<std::pair<std::string, Log::Fields>> events_;
  Log log_{[this](std::string_view event, const Log::Fields& fields) { events_.emplace_back(event, fields); }};

 private:
  c10::InferenceMode inference_;
};

// The nano VAE is far from linear: its own best map, fitted on these very latents, reaches 0.78. Maps of drawn latents
// reach 0 to 0.3, with colours that are wrong.
TEST_F(LatentPreview, ShowsWhatTheDecoderWouldMake) {
  const auto vae = build_vae(open_network(Network::Vae, parts_of(kModel, Task::T2V)), Place{}, at::kFloat);
  std::vector<int64_t> before;
  const LatentRgb map = fit_preview(*vae.model, [&](int64_t picture) { before.push_back(picture); });
  EXPECT_EQ(before, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7}));
  const Checkpoint golden = Checkpoint::open(kNano / "golden.safetensors");
  double sum = 0;
  int64_t count = 0;
  for (const char* clip : {"clip0", "clip1", "clip2"}) {
    const Tensor latents = golden.map(std::string(clip) + ".latent"), video = vae::decode(vae.model->decoder, latents);
    for (int64_t t = 0; t < latents.size(1); ++t, ++count) {
      const Tensor frames = t == 0 ? video.narrow(1, 0, 1) : video.narrow(1, 4 * t - 3, 4);
      sum += correlation(map(latents.select(1, t)), at::avg_pool2d(frames.mean(1), {8, 8}));
    }
  }
  EXPECT_GT(sum / double(count), 0.5);
}

TEST_F(LatentPreview, AFitIsTheSameEachTimeAndLeavesTheGeneratorAlone) {
  const auto vae = build_vae(open_network(Network::Vae, parts_of(kModel, Task::T2V)), Place{}, at::kFloat);
  at::manual_seed(5);
  const Tensor next = at::randn({4});
  at::manual_seed(5);
  const LatentRgb first = fit_preview(*vae.model), second = fit_preview(*vae.model);
  EXPECT_TRUE(at::equal(at::randn({4}), next));
  EXPECT_TRUE(at::equal(first.factors, second.factors));
}

TEST_F(LatentPreview, AMapIsKeptAndADamagedFileCountsAsNone) {
  const PreviewCache cache(maps_);
  const LatentRgb map{at::randn({17, 3}, at::kDouble)};
  EXPECT_FALSE(cache.find("samples:a"));
  cache.keep("samples:a", map);
  const auto kept = cache.find("samples:a");
  ASSERT_TRUE(kept);
  EXPECT_TRUE(at::equal(kept->factors, map.factors)) << "every bit";
  EXPECT_FALSE(cache.find("samples:b")) << "another VAE's";

  const fs::path file = cache.file_of("samples:a");
  const std::string whole = bytes_of(file);
  const nlohmann::json content = nlohmann::json::parse(whole);
  const auto with = [&](const char* name, const nlohmann::json& value) {
    nlohmann::json other = content;
    other[name] = value;
    return other.dump();
  };
  nlohmann::json rows = content["factors"], text = rows, huge = rows;
  rows.erase(0);
  text[0][0] = "0";
  huge[0].push_back(1);
  for (const std::string& damaged :
       {std::string(), whole.substr(0, whole.size() / 2), std::string("[]"), std::string("17"), with("fit", 2),
        with("vae", "samples:b"), with("factors", rows), with("factors", text), with("factors", huge),
        with("factors", nullptr), std::string(2 << 20, ' ')}) {
    write_bytes(file, damaged);
    EXPECT_FALSE(cache.find("samples:a")) << damaged.substr(0, 80);
  }
  cache.keep("samples:a", map);
  EXPECT_TRUE(cache.find("samples:a")) << "made anew";
  fs::remove(file);
  fs::create_directory(file);
  EXPECT_FALSE(cache.find("samples:a"));
  EXPECT_NO_THROW(cache.keep("samples:a", map)) << "costs a fit, no error";

  const PreviewCache none{fs::path()};
  EXPECT_NO_THROW(none.keep("samples:a", map));
  EXPECT_FALSE(none.find("samples:a"));
}

// By hand: x - sigma v, where v is guided; and the samples keep their bits.
TEST_F(LatentPreview, AStepHandsOutItsEstimate) {
  for (const SolverKind kind :
       {SolverKind::UniPc, SolverKind::DpmPlusPlus, SolverKind::Euler, SolverKind::StepDistill}) {
    const Schedule schedule(kind, {{.index = 0, .t = 900, .sigma = 0.9f, .high = true, .guidance = 3},
                                   {.index = 1, .t = 600, .sigma = 0.6f, .high = true, .guidance = 3},
                                   {.index = 2, .t = 300, .sigma = 0.3f, .high = false, .guidance = 1}});
    const FreshNoise noise{7, at::kCPU};
    at::manual_seed(3);
    const Tensor start = at::randn({16, 2, 4, 4}), target = at::randn({16, 2, 4, 4});
    std::vector<Tensor> want;
    const auto velocity = [&](const Step& step, const Tensor& x) {
      const Tensor conditional = (x - target) * 0.7, unconditional = (x + target) * 0.2;
      const bool guided = step.guidance != 1;
      const Tensor v = guided ? unconditional + step.guidance * (conditional - unconditional) : conditional;
      want.push_back(x - double(step.sigma) * v);
      return guided ? Velocity{conditional, unconditional, step.guidance} : Velocity{conditional};
    };
    QuietRun quiet;
    Sampling plain = begin_sampling(schedule, start, noise);
    denoise(plain, schedule, 3, velocity, quiet);
    want.clear();
    std::vector<Tensor> got;
    wan::Run watched = quiet.run;
    watched.on_estimate = [&](const Tensor& estimate, int64_t step) {
      EXPECT_EQ(step, int64_t(got.size()));
      got.push_back(estimate.clone());
    };
    Sampling state = begin_sampling(schedule, start, noise);
    denoise(state, schedule, 2, velocity, watched);
    denoise(state, schedule, 3, velocity, watched);
    ASSERT_EQ(got.size(), 3u);
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_TRUE(is_close(got[i], want[i], 1e-5)) << int(kind) << ", step " << i;  // float32 of values up to 10
    EXPECT_TRUE(at::equal(state.x, plain.x)) << int(kind);
    EXPECT_TRUE(is_close(got[2], state.x, 1e-6)) << "the last step ends there";
  }
}

TEST_F(LatentPreview, ShowsTwelvePicturesButAtMostOneASecond) {
  for (int64_t steps : {1, 4, 12, 23, 24, 27, 40, 50, 100}) {
    int64_t shown = 0;
    for (int64_t step = 0; step < steps; ++step) shown += PreviewFile::shows(step, steps);
    EXPECT_GE(shown, std::min<int64_t>(steps, 12)) << steps;
    EXPECT_TRUE(PreviewFile::shows(steps - 1, steps));
    if (steps < 24) {
      EXPECT_EQ(shown, steps);
    }
  }
  PreviewFile::Clock::time_point now{};
  PreviewFile file(preview_, red_map(), log_, [&] { return now; });
  const Tensor estimate = at::zeros({16, 1, 4, 4});
  EXPECT_TRUE(file.take(estimate, 0, 10)) << "the first one";
  now += std::chrono::milliseconds(999);
  EXPECT_FALSE(file.take(estimate, 1, 10));
  now += std::chrono::milliseconds(1);
  EXPECT_TRUE(file.take(estimate, 2, 10));
  EXPECT_FALSE(file.take(estimate, 3, 10));
  EXPECT_TRUE(file.take(estimate, 9, 10)) << "the last one is always shown";
  now += std::chrono::hours(1);
  EXPECT_FALSE(file.take(estimate, 0, 40)) << "every third of 40";
  EXPECT_TRUE(file.take(estimate, 2, 40));
}

TEST_F(LatentPreview, WritesPngAndJpegWhole) {
  const Tensor picture = moving_picture(1, 36, 64)[0];
  for (const char* name : {"a.png", "b.jpg", "c.JPEG"}) {
    const std::string path = folder_ / name;
    write_bytes(path, "before");
    replace_picture(path, picture);
    const std::string bytes = bytes_of(path);
    const bool png = path.ends_with(".png");
    EXPECT_TRUE(bytes.starts_with(png ? "\x89PNG" : "\xFF\xD8\xFF")) << name;
    EXPECT_EQ(bytes.find("Lavc"), std::string::npos) << "the same bytes with every version of the library";
    const Tensor read = read_image({path, "image_url"});
    if (png) {
      EXPECT_TRUE(at::equal(read, picture));
    } else {
      EXPECT_GT(decibels(read, picture), 38) << name;
    }
    replace_picture(path, picture);
    EXPECT_TRUE(bytes_of(path) == bytes);
  }
  EXPECT_EQ(names_in(folder_.path()).size(), 3u) << "nothing is left over";
  EXPECT_THROW(replace_picture(folder_ / "absent/a.png", picture), std::runtime_error);
  EXPECT_THROW(replace_picture(folder_ / "d.png", picture.to(at::kFloat)), std::invalid_argument);
}

TEST_F(LatentPreview, AVideoKeepsItsBytes) {
  const std::string plain = run(request());
  const int64_t loads = count("load");
  EXPECT_EQ(count("preview"), 0);
  EXPECT_FALSE(fs::exists(maps_)) << "without a preview nothing is fitted";
  for (const char* solver : {"unipc", "euler"}) {
    const Request wanted = request({{"solver", solver}});
    const std::string without = run(wanted), with = run(wanted, {.preview = preview_});
    EXPECT_TRUE(with == without) << solver;
  }
  EXPECT_TRUE(run(request(), {.preview = preview_}) == plain);
  EXPECT_EQ(count("preview"), 1) << "fitted once, kept for the others";
  EXPECT_EQ(count("load"), 6 * loads) << "no network is loaded once more";
  EXPECT_EQ(notes(), std::vector<std::string>{});
  EXPECT_EQ(names_in(maps_).size(), 1u);
}

TEST_F(LatentPreview, TheLastEstimateStays) {
  const Request wanted = request();
  WorkFolder work(folder_ / "work", 1);
  std::vector<Tensor> estimates;
  int64_t shown = 0;
  Silent silent;
  const RunOptions options{.previews = maps_,
                           .on_estimate =
                               [&](const Job& job, const Tensor& estimate, int64_t step) {
                                 EXPECT_EQ(job.request.out, wanted.out);
                                 EXPECT_EQ(step, int64_t(estimates.size()));
                                 estimates.push_back(estimate.clone());
                               },
                           .on_preview =
                               [&](const Job& job) {
                                 EXPECT_TRUE(fs::exists(job.output.preview));
                                 ++shown;
                               }};
  const RunResult result =
      run_jobs({{.line = 1, .request = wanted, .output = {.preview = preview_}}}, work, options, log_, silent);
  ASSERT_EQ(result.jobs[0].state, JobState::Done) << result.jobs[0].error;
  ASSERT_EQ(estimates.size(), 4u);
  EXPECT_EQ(estimates[3].sizes(), (std::vector<int64_t>{16, 2, 4, 4}));
  EXPECT_GE(shown, 2) << "the first step and the last one";
  const LatentRgb map = *PreviewCache(maps_).find(
      nlohmann::json::parse(bytes_of(maps_ / names_in(maps_).at(0)))["vae"].get<std::string>());
  EXPECT_TRUE(at::equal(read_image({preview_, "image_url"}), vae::preview_picture(map, estimates[3])));
}

TEST_F(LatentPreview, JobsOfOneModelShareAMap) {
  WorkFolder work(folder_ / "work", 1);
  Silent silent;
  const std::string other = folder_ / "other.jpg";
  const RunResult result = run_jobs(
      {{.line = 1, .request = request(), .output = {.preview = preview_}},
       {.line = 2, .request = request({{"seed", 2}, {"out", folder_ / "b.mp4"}}), .output = {.preview = other}},
       {.line = 3, .request = request({{"seed", 3}, {"out", folder_ / "c.mp4"}})}},
      work, {}, log_, silent);
  EXPECT_EQ(result.count(JobState::Done), 3);
  EXPECT_EQ(count("preview"), 1) << "also where no folder keeps it";
  EXPECT_TRUE(fs::exists(preview_));
  EXPECT_TRUE(bytes_of(other).starts_with("\xFF\xD8"));
}

/// Removes something before a step, from 0.
struct Removes : Silent {
  Removes(fs::path path, int64_t step) : path(std::move(path)), step(step) {}
  void at(const Report& report) override {
    if (report.stage == Stage::Denoise && report.step == step) fs::remove_all(path);
  }
  fs::path path;
  int64_t step;
};

TEST_F(LatentPreview, AFileThatIsTakenAwayComesBack) {
  const std::string plain = run(request());
  Removes file(preview_, 2);
  EXPECT_TRUE(run(request(), {.preview = preview_}, file) == plain);
  EXPECT_TRUE(fs::exists(preview_));
  EXPECT_EQ(notes(), std::vector<std::string>{});
}

TEST_F(LatentPreview, AFolderThatIsTakenAwayIsToldOnce) {
  const std::string plain = run(request());
  fs::create_directory(folder_ / "shown");
  Removes folder(folder_ / "shown", 0);
  EXPECT_TRUE(run(request(), {.preview = folder_ / "shown/live.png"}, folder) == plain);
  ASSERT_EQ(notes().size(), 1u) << "of two pictures that could not be written";
  EXPECT_NE(notes()[0].find("live.png"), std::string::npos) << notes()[0];
}

TEST_F(LatentPreview, AnotherFileIsReplacedByWordOnly) {
  write_bytes(preview_, "my own");
  Silent silent;
  try {
    run(request(), {.preview = preview_}, silent, /*overwrite=*/false);
    ADD_FAILURE() << "replaced";
  } catch (const InvalidRequest& invalid) {
    EXPECT_EQ(invalid.errors.at(0).field, "preview") << invalid.what();
  }
  EXPECT_EQ(bytes_of(preview_), "my own");
  run(request(), {.preview = preview_});
  EXPECT_TRUE(bytes_of(preview_).starts_with("\x89PNG"));
}

TEST_F(LatentPreview, AResumedRunGoesOnWithItsFile) {
  const std::string plain = run(request());
  fs::remove(folder_ / "a.mp4");
  Steps two(2), rest;
  EXPECT_THROW(run(request(), {.preview = preview_}, two, /*overwrite=*/false), Cancelled);
  EXPECT_TRUE(fs::exists(preview_));
  const std::string other = folder_ / "other.png";
  write_bytes(other, "my own");
  Silent silent;
  EXPECT_THROW(run(request(), {.preview = other}, silent, /*overwrite=*/false), InvalidRequest);
  EXPECT_TRUE(run(request(), {.preview = preview_}, rest, /*overwrite=*/false) == plain);
  EXPECT_EQ(rest.made, 2);
  EXPECT_EQ(count("preview"), 1);
}

TEST_F(LatentPreview, ADecodingAloneFitsNothing) {
  Steps stopped(INT64_MAX, 0);
  EXPECT_THROW(run(request(), {}, stopped), Cancelled);
  run(request(), {.preview = preview_});
  EXPECT_EQ(count("preview"), 0);
  EXPECT_FALSE(fs::exists(preview_));
}

TEST_F(LatentPreview, AFitCanBeInterrupted) {
  Steps stopped(Stage::Load);
  EXPECT_THROW(run(request(), {.preview = preview_}, stopped), Cancelled);
  EXPECT_EQ(count("preview"), 0);
  EXPECT_EQ(names_in(maps_), std::vector<std::string>{});
}

TEST_F(LatentPreview, SpeechShowsEachClip) {
  write_png(folder_ / "face.png", moving_picture(1, 64, 64)[0]);
  write_sound(folder_ / "voice.wav", 16000, 5.1);  // two clips
  const Request wanted = parse(Task::S2V,
                               {{"model", kSpeechModel.string()},
                                {"prompt", "a face"},
                                {"image_url", "face.png"},
                                {"audio_url", "voice.wav"},
                                {"out", "speech.mp4"},
                                {"width", 64},
                                {"height", 64},
                                {"unlocked", true},
                                {"num_inference_steps", 2},
                                {"guidance_scale", 1},
                                {"seed", 1},
                                {"device", "cpu"}},
                               {.folder = folder_.path()});
  const std::string plain = run(wanted);
  WorkFolder work(folder_ / "work", 1);
  Silent silent;
  std::vector<int64_t> steps;
  int64_t shown = 0;
  const RunResult result =
      run_jobs({{.line = 1, .request = wanted, .output = {.preview = preview_}}}, work,
               {.overwrite = true,
                .previews = maps_,
                .on_estimate = [&](const Job&, const Tensor&, int64_t step) { steps.push_back(step); },
                .on_preview = [&](const Job&) { ++shown; }},
               log_, silent);
  ASSERT_EQ(result.jobs[0].state, JobState::Done) << result.jobs[0].error;
  EXPECT_EQ(steps, (std::vector<int64_t>{0, 1, 0, 1}));
  EXPECT_GE(shown, 3) << "the first step, and the last one of each clip";
  EXPECT_EQ(read_image({preview_, "image_url"}).sizes(), (std::vector<int64_t>{16, 16, 3}));
  EXPECT_TRUE(bytes_of(wanted.out) == plain);
}

}  // namespace
}  // namespace wan
