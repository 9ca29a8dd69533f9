#include "engine/residency/advice.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/base/units.h"

namespace wan {

namespace {

/// What must be saved: a fiftieth of the time, and a second.
constexpr double kWorthIt = 0.98, kLeastSaved = 1;

class Advisor {
 public:
  Advisor(const Workload& workload, const Machine& machine, const Plan& plan)
      : work_(workload), machine_(machine), plan_(plan) {}

  std::vector<std::string> list(const std::vector<Alternative>& alternatives) {
    if (machine_.is_card) {
      more_device();
      more_host();
      faster("link", machine_.link);
    }
    faster("disk", machine_.disk);
    for (const Alternative& other : alternatives)
      consider(other.workload, machine_, other.flag + " takes less memory, and changes bits of the video");
    return std::move(sentences_);
  }

 private:
  void consider(const Workload& work, const Machine& machine, const std::string& text) {
    try {
      const double seconds = plan(work, machine).seconds;
      if (seconds >= plan_.seconds * kWorthIt || seconds > plan_.seconds - kLeastSaved) return;
      sentences_.push_back(text + ": " + duration(seconds) + " instead of " + duration(plan_.seconds));
    } catch (const InvalidRequest&) {  // it has no room
    }
  }

  /// As much as keeps the experts whole.
  void more_device() {
    uint64_t expert = 0, outside = 0;  // of the other one, which comes in while this one works
    for (const auto& [network, sizes] : work_.networks) {
      if (network == Network::HighNoise || network == Network::LowNoise) outside = std::max(outside, sizes.outside);
      if (network != Network::AudioEncoder) expert = std::max(expert, sizes.device());
    }
    const uint64_t wanted = expert + outside + work_.demand(work_.extent).denoise;
    if (wanted <= machine_.budget) return;
    Machine larger = machine_;
    larger.budget = wanted;
    consider(work_, larger, gigabytes(wanted - machine_.budget) + " more of the card would keep an expert whole");
  }

  void more_host() {
    uint64_t missing = 0;
    for (const PhasePlan& phase : plan_.phases)
      for (const NetworkPlan& network : phase.networks) {
        const auto found = work_.networks.find(network.network);
        if (network.residency != Residency::Streamed || found == work_.networks.end()) continue;
        const int64_t unheld = network.blocks - network.kept_blocks - network.held_images;
        missing = std::max(missing, uint64_t(unheld) * found->second.slot());
      }
    if (missing == 0) return;
    Machine larger = machine_;
    set_host(larger, machine_.host_available + missing);
    consider(work_, larger,
             gigabytes(missing) + " more of host memory would hold the blocks that are read at each use");
  }

  void faster(const std::string& what, double rate) {
    Machine twice = machine_;
    if (what == "link")
      set_link(twice, 2 * rate);
    else
      twice.disk = 2 * rate;
    consider(work_, twice, "a " + what + " of " + rate_text(2 * rate) + " instead of " + rate_text(rate));
  }

  const Workload& work_;
  const Machine& machine_;
  const Plan& plan_;
  std::vector<std::string> sentences_;
};

}  // namespace

std::vector<std::string> advice(const Workload& workload, const Machine& machine, const Plan& plan,
                                const std::vector<Alternative>& alternatives) {
  return Advisor(workload, machine, plan).list(alternatives);
}

}  // namespace wan
