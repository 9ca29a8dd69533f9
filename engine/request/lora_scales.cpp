#include "engine/request/lora_scales.h"

#include <algorithm>

namespace wan {

namespace {

Schedule whole_schedule(Request request) {
  request.strength = 1;
  return make_schedule(request);
}

}  // namespace

LoraScales::LoraScales(const Request& request) : speech_(request.task == Task::S2V), whole_(whole_schedule(request)) {}

int64_t LoraScales::steps(bool high) const {
  return std::count_if(whole_.begin(), whole_.end(), [&](const Step& step) { return is_own(step, high); });
}

double LoraScales::at(const std::vector<double>& scales, const Step& step) const {
  const auto is_before = [&](const Step& other) { return is_own(other, step.high) && other.index < step.index; };
  const auto before = size_t(std::count_if(whole_.begin(), whole_.end(), is_before));
  return scales.at(before * scales.size() / size_t(steps(step.high)));
}

}  // namespace wan
