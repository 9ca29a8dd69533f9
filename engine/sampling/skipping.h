// Skip-Softmax over the steps of a job: which step has the rule, and how many blocks were left out so far.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "engine/base/log.h"
#include "engine/request/schedule.h"
#include "engine/residency/device.h"
#include "engine/residency/parts.h"
#include "kernels/attention/skip_softmax.h"

namespace wan {

using kernels::SkippedBlocks;

class Skipping {
 public:
  explicit Skipping(const SkippedBlocks& before = {}) : counted_(before) {}

  /// The rule for a forward of this step on `device`; null where the step is dense.
  kernels::SkipSoftmax* begin(const Step& step, at::Device device);
  /// The forward is done: what it left out counts. Waits for the device where there is a rule.
  void end();

  /// The forward is done, and was counted before a restart.
  void forget() { rule_.reset(); }

  /// Of all steps so far, also before a restart.
  const SkippedBlocks& counted() const { return counted_; }

 private:
  std::optional<kernels::SkipSoftmax> rule_;
  SkippedBlocks counted_;
};

/// The count as metadata of a saved state, and out of it; zeros where there is none.
std::map<std::string, std::string> to_metadata(const SkippedBlocks& blocks);
SkippedBlocks skipped_in(const std::map<std::string, std::string>& metadata);
/// Whether metadata of this name is part of a count.
bool is_skipped_count(const std::string& name);

/// What decides whether attention on a card leaves out blocks.
struct SkippingCard {
  bool has_kernel = false;  // kernels::has_skipping_kernel, for heads of this width and dtype
  int64_t head_width = kernels::kSkippingHeadWidth;
  at::ScalarType dtype = at::kBFloat16;
  Precision precision = Precision::Exact;
  kernels::Instructions instructions = kernels::Instructions::Mma;
  kernels::Options options = {};
};
/// Why it does not, as the rest of a message that begins with its field; nothing where it does.
std::optional<std::string> why_no_skipping(const SkippingCard& card);
/// Before the first step: throws InvalidRequest where the request has Skip-Softmax and its card has no kernel for the
/// heads of the model. The CPU has the rule for all heads. Reads headers; throws ModelError.
void check_skipping(const Request& request, const ModelParts& parts, const Placement& placement);

/// What is taken in place of the measured choice, and which steps stay dense. Nothing without Skip-Softmax.
void log_skipping(const Request& request, const Schedule& schedule, const Placement& placement, const Log& log);
/// How many blocks were left out, of how many.
void log_skipped(const SkippedBlocks& blocks, const Log& log);

}  // namespace wan
