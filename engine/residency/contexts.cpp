#include "engine/residency/contexts.h"

namespace wan {

Contexts::Contexts(kernels::Options options, kernels::AttentionMemory memory)
    : options_(std::move(options)), memory_(std::move(memory)) {}

std::shared_ptr<kernels::Context> Contexts::on(at::Device device) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<kernels::Context>& context = made_[device.str()];
  if (!context) {
    context = kernels::make_context(options_, device);
    for (kernels::AttentionSelector* selector : {context->attention(), context->sums()})
      if (selector) selector->set_memory(memory_);
  }
  return context;
}

}  // namespace wan
