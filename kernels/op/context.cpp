#include "kernels/op/context.h"

#include <c10/util/Exception.h>

#include <cstring>

#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/selector.h"
#include "kernels/op/device.h"

namespace wan::kernels {
namespace {

Wgmma pinned_wgmma(Wgmma asked, const Choices& choices) {
  if (asked == Wgmma::Off || choices.empty()) return asked;
  return choices.contains(kEightBits) ? Wgmma::On : Wgmma::Measured;
}

}  // namespace

bool is_of_8_bits(const std::string& key) {
  return key == kEightBits || key.starts_with(kEightBitSums);
}

Context::Context(Options options, at::Device device) : Context(std::move(options), device, nullptr) {}

Context::Context(Options options, at::Device device, std::unique_ptr<AttentionSelector> attention,
                 std::unique_ptr<AttentionSelector> sums)
    : options_(std::move(options)),
      device_(device),
      attention_(std::move(attention)),
      sums_(std::move(sums)),
      wgmma_(options_.wgmma) {
  TORCH_CHECK(!device.is_cuda() || device.has_index(), "[context] the device must be a GPU with its index, got ",
              device.str());
}

Context::~Context() = default;

bool Context::is_own(at::Device device) const {
  return device.type() == device_.type() && (!device_.has_index() || device.index() == device_.index());
}

AttentionSelector* Context::attention_on(at::Device device) const {
  return is_own(device) ? attention_.get() : nullptr;
}

AttentionSelector* Context::sums_on(at::Device device) const {
  return is_own(device) ? sums_.get() : nullptr;
}

void Context::pin(const Choices& choices) {
  Choices cases, sums;
  for (const auto& [key, name] : choices) {
    if (key.starts_with(kEightBitSums))
      sums[key.substr(std::strlen(kEightBitSums))] = name;
    else if (key != kEightBits)
      cases[key] = name;
  }
  if (sums_) sums_->require(sums);  // before anything is pinned: what throws changes nothing
  if (attention_) attention_->pin(cases);
  if (sums_) sums_->pin(sums);
  wgmma_ = pinned_wgmma(options_.wgmma, choices);
}

Choices Context::choices() const {
  Choices all = attention_ ? attention_->choices() : Choices();
  if (sums_)
    for (const auto& [wanted, name] : sums_->choices()) all[kEightBitSums + wanted] = name;
  if (wgmma() == Wgmma::On && cuda::instructions_on(device_, *this) == Instructions::Wgmma) all[kEightBits] = "wgmma";
  return all;
}

bool Context::has_agreed(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  return agreed_.contains(name);
}

void Context::set_agreed(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  agreed_.insert(name);
}

std::unique_ptr<Context> make_context(const Options& options, at::Device device) {
  std::unique_ptr<AttentionSelector> attention, sums;
  if (device.is_cuda() && !options.reference) {
    attention = cuda::attention_selector(device, options);
    sums = cuda::sums_selector(device, options);
  }
  return std::make_unique<Context>(options, device, std::move(attention), std::move(sums));
}

const Context& default_context() {
  static const Context context;
  return context;
}

}  // namespace wan::kernels
