#include "tools/bench/contest.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>

namespace wan::bench {
namespace {

std::string first_line(const std::string& message) {
  return message.substr(0, std::min<size_t>(message.find('\n'), 160));
}

std::string scientific(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.2e", value);
  return buffer;
}

/// The contestants that are right, with rows that lack nothing but times.
std::pair<std::vector<Launch>, std::vector<Row>> admit(const Plan& plan, const Contest& contest,
                                                       const Stopwatch& stopwatch, Report& report) {
  std::vector<Launch> launches;
  std::vector<Row> rows;
  for (const Contestant& contestant : contest.contestants) {
    const auto leave_out = [&](const std::string& why) {
      report.left_out.push_back({plan.suite, plan.name, plan.shape, contestant.name, why});
    };
    try {
      if (stopwatch.reset_peak) stopwatch.reset_peak();
      const Tensor result = contestant.run(0);
      const double peak = stopwatch.peak_bytes ? stopwatch.peak_bytes() : 0;
      const double error = contest.error(contestant.finish ? contestant.finish(result) : result);
      const double bound = contestant.bound > 0 ? contestant.bound : contest.bound;
      if (!(error <= bound)) {
        leave_out("wrong: relative L2 " + scientific(error) + ", at most " + scientific(bound) + " is right");
        continue;
      }
      launches.push_back([&contestant](size_t set) { contestant.run(set); });
      rows.push_back({.suite = plan.suite,
                      .name = plan.name,
                      .shape = plan.shape,
                      .backend = contestant.name,
                      .ours = contestant.ours,
                      .milliseconds = {},
                      .flops = contest.flops,
                      .bytes = contest.bytes,
                      .ceiling = contest.ceiling,
                      .error = error,
                      .bound = bound,
                      .peak_bytes = peak,
                      .note = contestant.note});
    } catch (const c10::Error& error) {
      leave_out(first_line(error.what_without_backtrace()));
    } catch (const std::exception& error) {
      leave_out(first_line(error.what()));
    }
  }
  return {std::move(launches), std::move(rows)};
}

}  // namespace

void run_plans(const std::vector<Plan>& plans, const Stopwatch& stopwatch, const Budget& budget, Report& report) {
  for (const Plan& plan : plans) {
    if (budget.spent()) {
      report.left_out.push_back({plan.suite, plan.name, plan.shape, "", "the budget was spent"});
      continue;
    }
    try {
      const Contest contest = plan.make();
      auto [launches, rows] = admit(plan, contest, stopwatch, report);
      const auto samples = measure_in_turns(launches, contest.sets, stopwatch.timer, stopwatch.effort);
      for (size_t i = 0; i < rows.size(); ++i) {
        rows[i].milliseconds = samples[i];
        report.rows.push_back(std::move(rows[i]));
      }
    } catch (const c10::Error& error) {
      report.left_out.push_back({plan.suite, plan.name, plan.shape, "", first_line(error.what_without_backtrace())});
    }
  }
}

double relative_l2(const Tensor& got, const Tensor& want) {
  if (got.sizes() != want.sizes()) return std::numeric_limits<double>::infinity();
  const Tensor wide = want.to(at::kDouble);
  const double squared = (got.to(wide.device(), at::kDouble) - wide).square().sum().item<double>() /
                         std::max(wide.square().sum().item<double>(), 1e-60);
  return squared >= 0 ? std::sqrt(squared) : std::numeric_limits<double>::infinity();
}

Tensor sampled_rows(int64_t count, at::Device device) {
  constexpr int64_t kRows = 512;
  if (count <= kRows) return at::arange(count, at::TensorOptions(device).dtype(at::kLong));
  Tensor between = std::get<0>(at::randperm(count - 2, at::kLong).slice(0, 0, kRows - 2).sort()) + 1;
  return at::cat({at::zeros({1}, at::kLong), between, at::full({1}, count - 1, at::kLong)}).to(device);
}

size_t rotation(double bytes_of_a_set) {
  constexpr double kFourCaches = 4 * 64e6;
  return size_t(std::clamp(std::ceil(kFourCaches / std::max(bytes_of_a_set, 1.0)), 1.0, 16.0));
}

}  // namespace wan::bench
