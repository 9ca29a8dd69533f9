#include "tools/mlperf/measure.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "engine/sampling/solver.h"
#include "models/files/task_queue.h"
#include "tools/mlperf/published.h"

namespace wan::mlperf {
namespace {

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Seconds from one call of lap() to the next, each taken when the device has nothing left to do.
class Laps {
 public:
  Laps(at::Device device, const std::function<double()>& clock) : device_(device), clock_(clock) { lap(); }
  double lap() {
    if (device_.is_cuda()) c10::impl::VirtualGuardImpl(device_.type()).synchronizeDevice(device_.index());
    const double now = clock_();
    return now - std::exchange(last_, now);
  }

 private:
  const at::Device device_;
  const std::function<double()> clock_;
  double last_ = 0;
};

/// States of a video's prompt, and of the negative one where a step guides.
struct Texts {
  Tensor positive, negative;
};

class Runner {
 public:
  Runner(VideoMaker& maker, const Series& series, const Instruments& instruments)
      : maker_(maker),
        series_(series),
        schedule_(schedule_of(series.settings)),
        latent_(series.latent.to(maker.device(), at::kFloat)),
        clock_(instruments.clock ? instruments.clock : steady_seconds),
        aside_(instruments.encodes_aside) {}

  const Schedule& schedule() const { return schedule_; }

  /// One step of each expert and two latent frames, so that networks are loaded and back ends chosen: the first makes
  /// one frame, every other four.
  void prepare() {
    const Texts texts = encode(0, nullptr);
    maker_.begin(texts.positive, texts.negative, schedule_);
    const Step* before = nullptr;
    for (const Step& step : schedule_) {
      if (before && before->high == step.high) continue;
      maker_.velocity(step, latent_);
      before = &step;
    }
    maker_.decode(latent_, std::min<int64_t>(series_.settings.frames, 1 + 4), [](const Tensor&) {});
    Laps(maker_.device(), clock_).lap();
  }

  /// `after` is called when a video is finished, the last of `seconds`.
  void single_stream(std::vector<StageSeconds>& seconds, const std::function<void()>& after) {
    for (int64_t i = 0; i < series_.videos; ++i) {
      Laps whole(maker_.device(), clock_);
      StageSeconds& own = seconds.emplace_back();
      const Texts texts = encode(i, &own);
      make(i, texts, own);
      finish_writing();
      own.whole = whole.lap();
      after();
    }
  }

  /// `after` gets how many videos are made, and the seconds of all so far. Before the last one the newest file may
  /// still be written: its seconds of writing are not yet whole.
  void offline(std::vector<StageSeconds>& seconds, const std::function<void(int64_t, double)>& after) {
    Laps(maker_.device(), clock_).lap();
    const double begin = clock_();
    seconds.resize(size_t(series_.videos));
    std::vector<Texts> texts;
    for (int64_t i = 0; i < series_.videos; ++i) texts.push_back(encode(i, &seconds[size_t(i)]));
    for (int64_t i = 0; i < series_.videos; ++i) {
      make(i, std::exchange(texts[size_t(i)], {}), seconds[size_t(i)]);
      if (i + 1 == series_.videos) finish_writing();
      after(i + 1, clock_() - begin);
    }
  }

  /// The first `count` of them, while frames may still be written.
  std::vector<StageSeconds> first_of(const std::vector<StageSeconds>& seconds, int64_t count) {
    const std::lock_guard<std::mutex> lock(written_);
    return {seconds.begin(), seconds.begin() + count};
  }

 private:
  const std::string& prompt(int64_t video) const { return series_.prompts.at(size_t(video) % series_.prompts.size()); }

  Texts encode(int64_t video, StageSeconds* seconds) {
    Laps laps(maker_.device(), clock_);
    Texts texts = {maker_.text(prompt(video)), {}};
    if (schedule_.guides()) texts.negative = maker_.text(series_.negative);
    if (seconds) seconds->text = laps.lap();
    return texts;
  }

  /// From a video's texts to its frames.
  void make(int64_t video, const Texts& texts, StageSeconds& seconds) {
    Laps laps(maker_.device(), clock_);
    maker_.begin(texts.positive, texts.negative, schedule_);
    Solver solver(schedule_.solver(), schedule_.sigmas());
    Tensor x = latent_;
    for (const Step& step : schedule_) {
      x = solver.step(maker_.velocity(step, x), x);
      (step.high ? seconds.high : seconds.low) += laps.lap();
    }
    const Settings& settings = series_.settings;
    std::shared_ptr<FrameFile> file;
    if (series_.files.open) file = series_.files.open(prompt(video), settings.height, settings.width);
    const double written_before = seconds.write;
    maker_.decode(x, settings.frames, [&](const Tensor& rgb) {
      if (file) write(seconds, [file, rgb] { file->write(rgb); });
    });
    seconds.decode = laps.lap();
    if (!aside_) seconds.decode -= seconds.write - written_before;
    if (file) write(seconds, [file] { file->finish(); });
  }

  /// By the other thread, one task after another.
  void write(StageSeconds& seconds, std::function<void()> work) {
    auto task = [this, &seconds, work = std::move(work)] {
      const c10::InferenceMode inference;
      const double begin = clock_();
      work();
      const std::lock_guard<std::mutex> lock(written_);
      seconds.write += clock_() - begin;
    };
    if (!aside_) return task();
    constexpr size_t kWaiting = 2;  // latent frames' worth
    if (!queue_) queue_.emplace(kWaiting);
    queue_->push(std::move(task));
  }
  void finish_writing() {
    if (queue_) queue_->wait();
  }

  VideoMaker& maker_;
  const Series& series_;
  const Schedule schedule_;
  const Tensor latent_;
  const std::function<double()> clock_;
  const bool aside_;
  std::mutex written_;  // guards StageSeconds::write
  std::optional<TaskQueue> queue_;
};

/// A row without its times.
bench::Row row_of(const VideoMaker& maker, const Settings& settings, const std::string& name, double flops) {
  return {.suite = "mlperf",
          .name = name,
          .shape = settings.label(),
          .backend = "wan-infer, " + maker.precision(),
          .ours = true,
          .milliseconds = {},
          .flops = flops,
          .bytes = 0,
          .ceiling = flops > 0 ? "bf16" : "",
          .error = -1,
          .bound = 0,
          .peak_bytes = 0,
          .note = ""};
}

/// The rows of what was measured so far, and the published ones.
std::vector<bench::Row> rows_of(const VideoMaker& maker, const Series& series, const Schedule& schedule,
                                const std::vector<StageSeconds>& seconds, double offline_seconds,
                                const std::string& remark, double peak) {
  const Work work = maker.work();
  double high = 0, low = 0;  // forwards: a branch of guidance in a step
  for (const Step& step : schedule) (step.high ? high : low) += step.guidance == 1 ? 1 : 2;
  std::vector<bench::Row> rows;
  const auto add = [&](const std::string& name, double StageSeconds::*stage, double flops) {
    bench::Row row = row_of(maker, series.settings, name, flops);
    for (const StageSeconds& video : seconds) row.milliseconds.push_back(1000 * video.*stage);
    row.note = remark;
    rows.push_back(std::move(row));
  };
  add("text encoder", &StageSeconds::text, 0);
  if (high > 0) add("high-noise expert", &StageSeconds::high, high * work.forward);
  if (low > 0) add("low-noise expert", &StageSeconds::low, low * work.forward);
  add("VAE decode", &StageSeconds::decode, work.decode);
  if (series.files.open) add(series.files.stage, &StageSeconds::write, 0);
  add("video", &StageSeconds::whole, work.forward > 0 ? (high + low) * work.forward + work.decode : 0);
  bench::Row& video = rows.back();
  if (series.settings.scenario == Scenario::Offline)
    video.milliseconds = {1000 * offline_seconds / double(seconds.size())};
  video.peak_bytes = peak;
  char text[64];
  std::snprintf(text, sizeof text, "%.4g %s for each video", video.median() / 1000,
                maker.device().is_cuda() ? "GPU seconds" : "seconds");
  video.note = text + (remark.empty() ? "" : "; " + remark);
  for (bench::Row& row : published_rows()) rows.push_back(std::move(row));
  return rows;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

/// What a reader of the report must know; the remark that every own row bears.
std::string describe(const VideoMaker& maker, const Series& series, bench::Report& report) {
  std::vector<std::string> differs = differences(series.settings);
  if (!maker.device().is_cuda()) differs.push_back("on a CPU");
  if (maker.work().decode == 0) differs.push_back("networks of other sizes");
  report.environment["benchmark"] =
      "the settings of MLPerf Inference's Wan2.2-T2V-A14B; not a result of MLPerf, not verified by MLCommons";
  report.environment[bench::kComparable] = differs.empty() ? "yes" : "no: " + joined(differs);
  report.environment["weights"] = maker.weights();
  std::ostringstream shift;
  shift << series.settings.shift;
  report.environment["shift"] = shift.str();
  std::string remark = "weights: " + maker.weights();
  if (!differs.empty()) remark += "; not comparable: " + joined(differs);
  return remark;
}

}  // namespace

void check(const Series& series) {
  series.settings.check();
  if (series.prompts.empty() || series.videos < 1)
    throw std::invalid_argument("[videos] must be at least 1, of at least one prompt; got " +
                                std::to_string(series.videos) + " of " + std::to_string(series.prompts.size()));
  const auto shape = series.settings.latent_shape();
  const at::IntArrayRef want(shape.data(), shape.size());
  if (series.latent.sizes() == want) return;
  std::ostringstream text;
  text << "[latent] must be " << want << " for " << series.settings.shape() << ", got " << series.latent.sizes();
  throw std::invalid_argument(text.str());
}

void measure(VideoMaker& maker, const Series& series, const Instruments& instruments, bench::Report& report,
             const std::function<void(const bench::Report&)>& save) {
  check(series);
  std::vector<StageSeconds> seconds;
  seconds.reserve(size_t(series.videos));  // what writes later holds on to its own
  Runner runner(maker, series, instruments);
  runner.prepare();
  const std::string remark = describe(maker, series, report);
  if (instruments.reset_peak) instruments.reset_peak();
  const std::vector<bench::Row> before = report.rows;
  const std::string comparable = report.environment[bench::kComparable];
  const bool offline = series.settings.scenario == Scenario::Offline;
  const auto tell = [&](int64_t done, double all) {
    const double peak = instruments.peak_bytes ? instruments.peak_bytes() : 0;
    const std::string videos = std::to_string(series.videos);
    const std::string made = done == series.videos ? videos : std::to_string(done) + " of " + videos;
    report.environment["videos"] = made;
    report.environment[bench::kComparable] = comparable;
    if (offline && done < series.videos)
      report.environment[bench::kComparable] = (comparable == "yes" ? "no: " : comparable + ", ") + made + " videos";
    report.rows = before;
    for (bench::Row& row : rows_of(maker, series, runner.schedule(), runner.first_of(seconds, done), all, remark, peak))
      report.rows.push_back(std::move(row));
    if (save) save(report);
  };
  if (offline) return runner.offline(seconds, tell);
  runner.single_stream(seconds, [&] { tell(int64_t(seconds.size()), 0); });
}

}  // namespace wan::mlperf
