#include "engine/sampling/skipping.h"

#include <algorithm>
#include <cstdlib>

#include "engine/base/error.h"
#include "engine/residency/open_network.h"
#include "kernels/op/device.h"

namespace wan {
namespace {

constexpr const char *kSkipped = "skip_softmax.skipped", *kAll = "skip_softmax.all";

int64_t number(const std::map<std::string, std::string>& metadata, const char* name) {
  const auto found = metadata.find(name);
  return found == metadata.end() ? 0 : std::max<int64_t>(std::strtoll(found->second.c_str(), nullptr, 10), 0);
}

}  // namespace

kernels::SkipSoftmax* Skipping::begin(const Step& step, at::Device device) {
  rule_.reset();
  if (step.skip_softmax > 0) rule_.emplace(step.skip_softmax, device);
  return rule_ ? &*rule_ : nullptr;
}

void Skipping::end() {
  if (rule_) counted_ += rule_->count();
  rule_.reset();
}

std::map<std::string, std::string> to_metadata(const SkippedBlocks& blocks) {
  if (blocks == SkippedBlocks()) return {};
  return {{kSkipped, std::to_string(blocks.skipped)}, {kAll, std::to_string(blocks.all)}};
}

SkippedBlocks skipped_in(const std::map<std::string, std::string>& metadata) {
  return {number(metadata, kSkipped), number(metadata, kAll)};
}

bool is_skipped_count(const std::string& name) {
  return name == kSkipped || name == kAll;
}

std::optional<std::string> why_no_skipping(const SkippingCard& card) {
  const std::string begin = "must be 0 ", end = "; leave --skip-softmax out, or ";
  if (card.options.reference)
    return begin + "with WAN_KERNELS=reference, which takes none of our kernels" + end + "unset it";
  if (!card.has_kernel && card.dtype != at::kBFloat16)
    return begin + "in float32 on a card: our own attention, which alone leaves out blocks, has 16 bits" + end +
           "take --dtype bf16";
  if (!card.has_kernel && card.head_width != kernels::kSkippingHeadWidth)
    return begin + "with heads of " + std::to_string(card.head_width) +
           " values on a card: our own attention, which alone leaves out blocks, has heads of " +
           std::to_string(kernels::kSkippingHeadWidth) + end + "take --device cpu";
  if (!card.has_kernel)
    return begin + "on this card: this build holds no attention of our own for it (that needs nvcc, and sm_80)" + end +
           "build with ./run --cuda";
  const std::string own = card.instructions == kernels::Instructions::Wgmma ? "wgmma" : "mma";
  const bool off = std::count(card.options.attention_off.begin(), card.options.attention_off.end(), own) > 0;
  if (off && !is_int8(card.precision))
    return begin + "where WAN_ATTENTION_OFF names " + own + ", our own attention: a library leaves nothing out" + end +
           "take " + own + " off it";
  return std::nullopt;
}

void check_skipping(const Request& request, const ModelParts& parts, const Placement& placement) {
  if (request.skip_softmax == 0 || !placement.device.is_cuda()) return;
  const kernels::Context& context = *placement.context;
  const int64_t width = transformer_config(parts).head_dim();
  const auto why =
      why_no_skipping({.has_kernel = kernels::has_skipping_kernel(placement.device, width, placement.dtype, context),
                       .head_width = width,
                       .dtype = placement.dtype,
                       .precision = placement.precision,
                       .instructions = kernels::cuda::instructions_on(placement.device, context),
                       .options = context.options()});
  if (why) throw InvalidRequest("skip_softmax", *why);
}

void log_skipping(const Request& request, const Schedule& schedule, const Placement& placement, const Log& log) {
  if (request.skip_softmax == 0) return;
  const auto sparse =
      std::count_if(schedule.begin(), schedule.end(), [](const Step& step) { return step.skip_softmax > 0; });
  std::string attention = "the reference";
  if (placement.device.is_cuda())
    attention = kernels::cuda::instructions_on(placement.device, *placement.context) == kernels::Instructions::Wgmma
                    ? "our own with wgmma"
                    : "our own with mma";
  log("skip_softmax", {{"lambda", request.skip_softmax},
                       {"dense_steps", schedule.size() - int64_t(sparse)},
                       {"steps", schedule.size()},
                       {"attention", attention}});
}

void log_skipped(const SkippedBlocks& blocks, const Log& log) {
  if (blocks == SkippedBlocks()) return;
  log("skip_softmax", {{"skipped", blocks.skipped},
                       {"blocks", blocks.all},
                       {"share", double(blocks.skipped) / double(std::max<int64_t>(blocks.all, 1))}});
}

}  // namespace wan
