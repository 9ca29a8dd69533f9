#include "tools/bench/cpu.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "models/vae/vae.h"

namespace wan::bench {
namespace {

/// Random values small enough for sums over them to stay of order 1.
at::Tensor draw(at::IntArrayRef shape, Role) {
  int64_t inputs = 1;
  for (size_t axis = 1; axis < shape.size(); ++axis) inputs *= shape[axis];
  return at::randn(shape, at::kFloat).div_(std::sqrt(double(inputs)));
}

/// 9 frames of 256x256 at the real width of 96 channels.
std::function<void()> vae_decode() {
  Weights weights(draw);
  auto model = std::make_shared<const vae::Vae>(weights.root(), vae::Widths{});
  at::Tensor latent = at::randn({16, 3, 32, 32}, at::kFloat);
  return [model, latent] { vae::decode(model->decoder, latent); };
}

struct Row {
  const char* name;
  std::function<void()> (*make)();
};
constexpr Row kRows[] = {{"vae_decode", vae_decode}};

double seconds_of(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double peak_rss_mb() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return double(usage.ru_maxrss) / 1024;
}

nlohmann::json measure(const Row& row, int runs) {
  const std::function<void()> run = row.make();
  run();
  std::vector<double> seconds;
  for (int i = 0; i < runs; ++i) seconds.push_back(seconds_of(run));
  std::nth_element(seconds.begin(), seconds.begin() + seconds.size() / 2, seconds.end());
  return {{"name", row.name},
          {"seconds", std::round(seconds[seconds.size() / 2] * 1000) / 1000},
          {"peak_rss_mb", std::round(peak_rss_mb())},
          {"threads", at::get_num_threads()}};
}

}  // namespace

void cpu(const std::vector<std::string>& rows, int runs, std::ostream& out) {
  for (const std::string& name : rows)
    if (std::none_of(std::begin(kRows), std::end(kRows), [&](const Row& row) { return name == row.name; }))
      throw std::invalid_argument("[cpu] no row is called '" + name + "'");
  c10::InferenceMode inference;
  for (const Row& row : kRows)
    if (rows.empty() || std::count(rows.begin(), rows.end(), row.name)) out << measure(row, runs).dump() << std::endl;
}

}  // namespace wan::bench
