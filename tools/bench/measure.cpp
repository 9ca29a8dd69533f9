#include "tools/bench/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace wan::bench {
namespace {

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// One contestant's place in the turns.
struct Turn {
  const Launch& launch;
  size_t sets;
  size_t next = 0;  // input set
  int launches = 1;
  int samples = 3;

  double sample(const Timer& timer, int count) {
    const double total = timer([&] {
      for (int i = 0; i < count; ++i) launch(next++ % sets);
    });
    return total / count;
  }

  /// Warms up and decides how much is measured.
  void prepare(const Timer& timer, const Effort& effort) {
    double longest = 0;
    for (int i = 0; i < effort.warmups && longest < effort.sample_milliseconds; ++i)
      longest = std::max(longest, sample(timer, 1));
    const double one = std::max(sample(timer, 1), 1e-6);
    launches = int(std::clamp(std::ceil(effort.sample_milliseconds / one), 1.0, double(effort.launches)));
    samples = int(std::clamp(effort.contestant_milliseconds / (one * launches), 3.0, double(effort.samples)));
  }
};

}  // namespace

std::vector<std::vector<double>> measure_in_turns(const std::vector<Launch>& contestants, size_t sets,
                                                  const Timer& timer, const Effort& effort) {
  std::vector<Turn> turns;
  for (const Launch& launch : contestants) turns.push_back({launch, std::max<size_t>(sets, 1)});
  for (Turn& turn : turns) turn.prepare(timer, effort);
  std::vector<std::vector<double>> samples(turns.size());
  for (int round = 0; round < effort.samples; ++round) {
    for (size_t i = 0; i < turns.size(); ++i)
      if (round < turns[i].samples) samples[i].push_back(turns[i].sample(timer, turns[i].launches));
  }
  return samples;
}

double wall_milliseconds(const std::function<void()>& run) {
  const double start = steady_seconds();
  run();
  return (steady_seconds() - start) * 1000;
}

Budget::Budget(double seconds, Clock clock)
    : clock_(clock ? std::move(clock) : steady_seconds), end_(clock_() + seconds) {}

double Budget::left() const {
  return end_ - clock_();
}

}  // namespace wan::bench
